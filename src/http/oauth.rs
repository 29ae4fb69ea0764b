//! Intuit's OAuth service: the page of consent, redeeming its code, spending a refresh token, giving one back. Through the
//! oauth2 crate, over the same agent; what comes back is read leniently, since an answer that we refuse to read is a token
//! lost.

use crate::domain::secret::Secret;
use crate::domain::token::{Grant, LIFE, TokenAnswer};
use base64::prelude::{BASE64_STANDARD, Engine};
use oauth2::basic::{
    BasicErrorResponse, BasicErrorResponseType, BasicRevocationErrorResponse,
    BasicTokenIntrospectionResponse, BasicTokenType,
};
use oauth2::url::form_urlencoded;
use oauth2::{
    AccessToken, AuthType, AuthUrl, AuthorizationCode, Client, ClientId, ClientSecret, CsrfToken,
    EndpointNotSet, EndpointSet, HttpRequest, HttpResponse, RedirectUrl, RefreshToken, RequestTokenError,
    Scope, StandardRevocableToken, TokenResponse, TokenUrl,
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

/// The config table takes no longer refresh token, in bytes.
const LONGEST_REFRESH: usize = 4_096;

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
    let client = match client(base, client_id, client_secret) {
        Ok(client) => client,
        Err(message) => return TokenAnswer::Unknown { message },
    };
    let token = RefreshToken::new(refresh.expose().to_owned());
    read(client.exchange_refresh_token(&token).request(&|request| send(agent, request)))
}

/// Redeems the code that a consent came back with, sent to `redirect`.
pub fn exchange(
    agent: &Agent,
    base: &str,
    client_id: &str,
    client_secret: &Secret,
    code: &Secret,
    redirect: &str,
) -> TokenAnswer {
    let client = match client(base, client_id, client_secret) {
        Ok(client) => client,
        Err(message) => return TokenAnswer::Unknown { message },
    };
    let redirect = match RedirectUrl::new(redirect.to_owned()) {
        Ok(redirect) => redirect,
        Err(error) => return TokenAnswer::Unknown { message: error.to_string() },
    };
    let code = AuthorizationCode::new(code.expose().to_owned());
    let answer =
        client.set_redirect_uri(redirect).exchange_code(code).request(&|request| send(agent, request));
    match read(answer) {
        TokenAnswer::Granted(Grant { refresh: None, .. }) => {
            TokenAnswer::Unknown { message: "the answer has no refresh token".to_owned() }
        }
        answer => answer,
    }
}

/// The address of the page where a person consents, and the state it carries: unguessable, for this once.
pub fn consent_url(base: &str, client_id: &str, redirect: &str) -> Result<(String, String), String> {
    let page = AuthUrl::new(format!("{base}/connect/oauth2")).map_err(|error| error.to_string())?;
    let redirect = RedirectUrl::new(redirect.to_owned()).map_err(|error| error.to_string())?;
    let client =
        IntuitClient::new(ClientId::new(client_id.to_owned())).set_auth_uri(page).set_redirect_uri(redirect);
    let (url, state) = client
        .authorize_url(|| CsrfToken::new_random_len(32))
        .add_scope(Scope::new("com.intuit.quickbooks.accounting".to_owned()))
        .url();
    Ok((url.to_string(), state.secret().to_owned()))
}

/// Gives an authorization back: Intuit voids the refresh token and its access tokens. A token that Intuit does not know
/// any more counts as given back. Error: what went wrong.
pub fn revoke(
    agent: &Agent,
    base: &str,
    client_id: &str,
    client_secret: &Secret,
    refresh: &Secret,
) -> Result<(), String> {
    // As for the token endpoint (RFC 6749, section 2.3.1); Intuit wants JSON here, which the oauth2 crate does not write.
    let escaped = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let basic = BASE64_STANDARD.encode([&escaped(client_id), ":", &escaped(client_secret.expose())].concat());
    let body = serde_json::json!({ "token": refresh.expose() }).to_string();
    let answer = agent
        .post(format!("{base}/v2/oauth2/tokens/revoke"))
        .header("Authorization", ["Basic ", &basic].concat())
        .header("Content-Type", "application/json")
        .config()
        .timeout_global(Some(TIMEOUT))
        .build()
        .send(body)
        .map_err(|error| error.to_string())?;
    match answer.status().as_u16() {
        200..=299 | 400 => Ok(()),
        401 => Err("Intuit refuses the client id or secret".to_owned()),
        status => Err(format!("Intuit answers with status {status}")),
    }
}

type Ready = Client<
    BasicErrorResponse,
    IntuitToken,
    BasicTokenIntrospectionResponse,
    StandardRevocableToken,
    BasicRevocationErrorResponse,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointSet,
>;

fn client(base: &str, client_id: &str, client_secret: &Secret) -> Result<Ready, String> {
    let url = TokenUrl::new(format!("{base}/oauth2/v1/tokens/bearer")).map_err(|error| error.to_string())?;
    Ok(IntuitClient::new(ClientId::new(client_id.to_owned()))
        .set_client_secret(ClientSecret::new(client_secret.expose().to_owned()))
        .set_auth_type(AuthType::BasicAuth)
        .set_token_uri(url))
}

fn read(answer: Result<IntuitToken, RequestTokenError<ureq::Error, BasicErrorResponse>>) -> TokenAnswer {
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
    let refresh = token.refresh_token.as_ref().map(|token| token.secret()).filter(|token| !token.is_empty());
    if !is_token(access) || refresh.is_some_and(|token| !is_token(token) || token.len() > LONGEST_REFRESH) {
        let message =
            "the answer has a token with blanks or control characters in it, or one that is far too long";
        return TokenAnswer::Unknown { message: message.to_owned() };
    }
    let ahead =
        |seconds: &Option<Seconds>| seconds.as_ref().and_then(Seconds::ahead).map(|life| life.min(LONGEST));
    TokenAnswer::Granted(Grant {
        access: Secret::new(access.as_str()),
        refresh: refresh.map(|token| Secret::new(token.as_str())),
        expires_in: ahead(&token.expires_in).unwrap_or(LIFE.0).clamp(LIFE.0, LIFE.1),
        refresh_expires_in: ahead(&token.x_refresh_token_expires_in),
        refresh_hard_expires_in: ahead(&token.x_refresh_token_hard_expires_in),
    })
}

/// What can be sent in a header and be stored. Anything else is no token that Intuit gave: taken for one, it would be kept in
/// memory for ever, because the config table does not take it.
fn is_token(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_graphic())
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
