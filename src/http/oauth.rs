//! Intuit's OAuth service: spending a refresh token. Through the oauth2 crate, over the same agent; what comes back is read
//! leniently, since an answer that we refuse to read is a token lost.

use crate::domain::secret::Secret;
use crate::domain::token::{Grant, LIFE, TokenAnswer};
use oauth2::basic::{
    BasicErrorResponse, BasicErrorResponseType, BasicRevocationErrorResponse,
    BasicTokenIntrospectionResponse, BasicTokenType,
};
use oauth2::{
    AccessToken, AuthType, Client, ClientId, ClientSecret, HttpRequest, HttpResponse, RefreshToken,
    RequestTokenError, Scope, StandardRevocableToken, TokenResponse, TokenUrl,
};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use ureq::Agent;

/// A token answer of Intuit. Numbers were seen as text as well.
#[derive(Debug, Deserialize, Serialize)]
struct IntuitToken {
    access_token: AccessToken,
    #[serde(default)]
    refresh_token: Option<RefreshToken>,
    #[serde(default)]
    expires_in: Option<Seconds>,
    #[serde(default)]
    x_refresh_token_expires_in: Option<Seconds>,
    #[serde(default)]
    x_refresh_token_hard_expires_in: Option<Seconds>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(untagged)]
enum Seconds {
    Number(i64),
    Text(String),
    Other(serde_json::Value),
}

impl Seconds {
    /// None when it says nothing, or nothing that is ahead.
    fn ahead(&self) -> Option<Duration> {
        let seconds = match self {
            Seconds::Number(number) => *number,
            Seconds::Text(text) => text.trim().parse().ok()?,
            Seconds::Other(_) => return None,
        };
        u64::try_from(seconds).ok().filter(|seconds| *seconds > 0).map(Duration::from_secs)
    }
}

impl TokenResponse for IntuitToken {
    type TokenType = BasicTokenType;
    fn access_token(&self) -> &AccessToken {
        &self.access_token
    }
    fn token_type(&self) -> &BasicTokenType {
        &BasicTokenType::Bearer
    }
    fn expires_in(&self) -> Option<Duration> {
        self.expires_in.as_ref().and_then(Seconds::ahead)
    }
    fn refresh_token(&self) -> Option<&RefreshToken> {
        self.refresh_token.as_ref()
    }
    fn scopes(&self) -> Option<&Vec<Scope>> {
        None
    }
}

type IntuitClient = Client<
    BasicErrorResponse,
    IntuitToken,
    BasicTokenIntrospectionResponse,
    StandardRevocableToken,
    BasicRevocationErrorResponse,
>;

/// The whole call to the token endpoint: while it lasts the process cannot be ended.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Longest answer that is read.
const MOST: u64 = 1 << 20;

/// No expiry lies further ahead than this; what says so is a mistake.
const LONGEST: Duration = Duration::from_secs(10 * 366 * 86_400);

/// Spends a refresh token. `base` is the OAuth host.
pub fn refresh(
    agent: &Agent,
    base: &str,
    client_id: &str,
    client_secret: &Secret,
    refresh: &Secret,
) -> TokenAnswer {
    let url = match TokenUrl::new(format!("{base}/oauth2/v1/tokens/bearer")) {
        Ok(url) => url,
        Err(error) => return TokenAnswer::Unknown { message: error.to_string() },
    };
    let client = IntuitClient::new(ClientId::new(client_id.to_owned()))
        .set_client_secret(ClientSecret::new(client_secret.expose().to_owned()))
        .set_auth_type(AuthType::BasicAuth)
        .set_token_uri(url);
    let token = RefreshToken::new(refresh.expose().to_owned());
    let answer = client.exchange_refresh_token(&token).request(&|request| send(agent, request));
    match answer {
        Ok(token) => granted(&token),
        Err(RequestTokenError::ServerResponse(refused)) => {
            let description =
                refused.error_description().cloned().unwrap_or_else(|| refused.error().to_string());
            match refused.error() {
                BasicErrorResponseType::InvalidGrant => TokenAnswer::InvalidGrant { description },
                BasicErrorResponseType::InvalidClient | BasicErrorResponseType::UnauthorizedClient => {
                    TokenAnswer::InvalidClient { description }
                }
                _ => TokenAnswer::Unknown { message: description },
            }
        }
        Err(RequestTokenError::Request(error)) => TokenAnswer::Unknown { message: error.to_string() },
        Err(RequestTokenError::Parse(..)) => {
            TokenAnswer::Unknown { message: "the answer cannot be read".to_owned() }
        }
        Err(RequestTokenError::Other(message)) => TokenAnswer::Unknown { message },
    }
}

fn granted(token: &IntuitToken) -> TokenAnswer {
    let access = token.access_token.secret();
    if access.is_empty() {
        return TokenAnswer::Unknown { message: "the answer has no access token".to_owned() };
    }
    let ahead =
        |seconds: &Option<Seconds>| seconds.as_ref().and_then(Seconds::ahead).map(|life| life.min(LONGEST));
    TokenAnswer::Granted(Grant {
        access: Secret::new(access.as_str()),
        refresh: token
            .refresh_token
            .as_ref()
            .map(|token| Secret::new(token.secret().as_str()))
            .filter(|token| !token.is_empty()),
        expires_in: ahead(&token.expires_in).unwrap_or(LIFE.0).clamp(LIFE.0, LIFE.1),
        refresh_expires_in: ahead(&token.x_refresh_token_expires_in),
        refresh_hard_expires_in: ahead(&token.x_refresh_token_hard_expires_in),
    })
}

/// Carries a request of the oauth2 crate. The extra header asks Intuit to say when the authorization ends for good.
fn send(agent: &Agent, request: HttpRequest) -> Result<HttpResponse, ureq::Error> {
    let (mut parts, body) = request.into_parts();
    parts
        .headers
        .insert("x-include-refresh-token-hard-expires-in", ureq::http::HeaderValue::from_static("true"));
    let request = ureq::http::Request::from_parts(parts, body);
    let request = agent.configure_request(request).timeout_global(Some(TIMEOUT)).build();
    let mut answer = agent.run(request)?;
    // 5xx, or a page for people, says nothing about the token.
    let status = answer.status();
    let body = answer.body_mut().with_config().limit(MOST).read_to_vec()?;
    if status.is_server_error() || status.as_u16() == 429 {
        return Err(ureq::Error::StatusCode(status.as_u16()));
    }
    let (parts, _) = answer.into_parts();
    Ok(ureq::http::Response::from_parts(parts, body))
}
