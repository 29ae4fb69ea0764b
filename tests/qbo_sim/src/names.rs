//! Second names of what a simulator can be asked, one value at a time where `Sim` has them together.

use crate::service::Action;
use crate::sim::Sim;
use std::path::Path;

impl Sim {
    /// Where the API is: `url`.
    pub fn api_base_url(&self) -> &str {
        self.url()
    }

    /// Where the OAuth service is: `url`.
    pub fn oauth_base_url(&self) -> &str {
        self.url()
    }

    /// The company's realm.
    pub fn realm(&self) -> String {
        self.credentials().0
    }

    /// The app's client id.
    pub fn client_id(&self) -> String {
        self.credentials().1
    }

    /// The app's client secret.
    pub fn client_secret(&self) -> String {
        self.credentials().2
    }

    /// The newest refresh token.
    pub fn refresh_token(&self) -> String {
        self.credentials().3
    }

    /// The certificate authority to trust: `ca_file`.
    pub fn ca_pem_path(&self) -> Option<&Path> {
        self.ca_file()
    }

    /// API requests so far: `request_count`.
    pub fn query_count(&self) -> u64 {
        self.request_count()
    }

    /// `rotate_next`.
    pub fn rotate_refresh_token_next(&self) {
        self.rotate_next();
    }

    /// `act_before`.
    pub fn on_request(&self, n: u64, action: Action) {
        self.act_before(n, action);
    }
}
