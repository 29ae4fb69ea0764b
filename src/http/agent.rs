//! The one HTTP agent, and which hosts it may talk to. Who names the host decides where the tokens go; so Intuit's hosts are
//! compiled in, and another one has to be https, or this machine.

use crate::error::{Error, Result};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, Proxy, ProxyProtocol};

/// What can be set.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Certificate authorities to trust beside the system's, as a PEM file.
    pub ca_file: Option<String>,
    pub proxy: Option<String>,
    pub connect_timeout: Duration,
    /// For a whole request.
    pub request_timeout: Duration,
    /// After decompression, in bytes.
    pub max_body_size: u64,
}

/// Intuit runs two of everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Environment {
    Production,
    Sandbox,
}

/// The setting that replaces all three hosts of the OAuth service.
const OAUTH: &str = "qbo_raw.oauth_base_url";

/// Where the services are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hosts {
    pub api: String,
    /// Where tokens are got.
    pub oauth: String,
    /// Where tokens are given back.
    pub revoke: String,
    /// Where a person consents, in a browser.
    pub consent: String,
}

impl Hosts {
    /// Intuit's hosts for the environment, unless they are replaced. Error: `Setting`, for a replacement that is neither
    /// https nor this machine, or is more than scheme, host and port.
    pub fn new(environment: Environment, api: Option<&str>, oauth: Option<&str>) -> Result<Hosts> {
        let intuit = match environment {
            Environment::Production => "https://quickbooks.api.intuit.com",
            Environment::Sandbox => "https://sandbox-quickbooks.api.intuit.com",
        };
        Ok(Hosts {
            api: replaced("qbo_raw.api_base_url", api, intuit)?,
            oauth: replaced(OAUTH, oauth, "https://oauth.platform.intuit.com")?,
            revoke: replaced(OAUTH, oauth, "https://developer.api.intuit.com")?,
            consent: replaced(OAUTH, oauth, "https://appcenter.intuit.com")?,
        })
    }

    /// Whether the API is Intuit's, whose limits hold whatever is set.
    pub fn is_intuit(&self) -> bool {
        let (_, authority) = self.api.split_once("://").unwrap_or_default();
        let host = authority.split(':').next().unwrap_or_default().to_ascii_lowercase();
        host == "intuit.com" || host.ends_with(".intuit.com")
    }

    fn plain(&self) -> bool {
        self.api.starts_with("http:") || self.oauth.starts_with("http:")
    }

    fn all_plain(&self) -> bool {
        [&self.api, &self.oauth, &self.revoke].iter().all(|url| url.starts_with("http:"))
    }
}

fn replaced(setting: &'static str, replacement: Option<&str>, default: &str) -> Result<String> {
    match replacement {
        None => Ok(default.to_owned()),
        Some(url) => checked(url).map_err(|problem| Error::Setting { setting, problem: problem.to_owned() }),
    }
}

/// `scheme://host[:port]` and nothing else. What the parser of the HTTP library would understand differently from a person
/// (user names, odd spellings of addresses, control characters) is refused rather than interpreted.
fn checked(url: &str) -> std::result::Result<String, &'static str> {
    let url = url.trim_end_matches('/');
    let (plain, authority) = match (url.strip_prefix("https://"), url.strip_prefix("http://")) {
        (Some(authority), _) => (false, authority),
        (_, Some(authority)) => (true, authority),
        _ => return Err("it must begin with https://"),
    };
    if authority.len() > 255
        || !authority.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._:[]".contains(&b))
    {
        return Err("it must be a scheme, a host and perhaps a port, nothing else");
    }
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (address, rest) = rest.split_once(']').ok_or("the address is not closed by a bracket")?;
            address.parse::<Ipv6Addr>().map_err(|_| "the address in brackets is no IPv6 address")?;
            (authority.get(..address.len() + 2).unwrap_or_default(), rest)
        }
        None => authority.split_at(authority.find(':').unwrap_or(authority.len())),
    };
    let is_port = |port: &str| {
        port.starts_with(|c: char| c.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port > 0)
    };
    if !port.is_empty() && !port.strip_prefix(':').is_some_and(is_port) {
        return Err("what follows the host is no port");
    }
    if !is_host(host) {
        return Err("the host is none, or is written in a way that could be taken for another");
    }
    if is_nowhere(host) {
        return Err("the address belongs to this link, to many hosts or to none");
    }
    if plain && !is_loopback(host) {
        return Err("plain http is for this machine only; a token would travel readable");
    }
    Ok(url.to_owned())
}

/// A name, or an address written out in full: what looks like a number in another spelling is an address to some parsers
/// and a name to others.
fn is_host(host: &str) -> bool {
    if host.starts_with('[') || host.parse::<Ipv4Addr>().is_ok() {
        return true;
    }
    let looks_numeric =
        host.rsplit('.').next().is_some_and(|last| last.starts_with(|c: char| c.is_ascii_digit()));
    !looks_numeric && host.split('.').all(|label| !label.is_empty() && !label.contains(['[', ']']))
}

/// Addresses at which a cloud's metadata service, a router or a whole network answers.
fn is_nowhere(host: &str) -> bool {
    match host.trim_matches(['[', ']']).parse::<IpAddr>().map(|address| address.to_canonical()) {
        Ok(IpAddr::V4(v4)) => {
            v4.is_link_local() || v4.is_unspecified() || v4.is_multicast() || v4.is_broadcast()
        }
        Ok(IpAddr::V6(v6)) => v6.is_unicast_link_local() || v6.is_unspecified() || v6.is_multicast(),
        Err(_) => false,
    }
}

fn is_loopback(host: &str) -> bool {
    host == "localhost"
        || host == "[::1]"
        || host.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback())
}

/// Makes the agent. No redirect is followed, no proxy of the environment is used, verification cannot be switched off.
/// Error: `Setting`, for a CA file or proxy that cannot be used.
pub fn agent(settings: &Settings, hosts: &Hosts) -> Result<Agent> {
    let proxy = match &settings.proxy {
        None => None,
        Some(proxy) => Some(known_proxy(proxy)?),
    };
    // To read the system's authorities takes longer than a small run; where nothing is encrypted nobody is to be trusted.
    let encrypted = !hosts.all_plain() || proxy.is_some();
    let roots = roots(settings.ca_file.as_deref(), encrypted)?;
    let config = Agent::config_builder()
        .https_only(!hosts.plain())
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .proxy(proxy)
        .user_agent(concat!("qbo_raw/", env!("CARGO_PKG_VERSION"), " (PostgreSQL extension)"))
        .accept("application/json")
        .timeout_global(Some(settings.request_timeout))
        .timeout_resolve(Some(settings.connect_timeout))
        .timeout_connect(Some(settings.connect_timeout))
        .max_idle_connections(10)
        .max_idle_connections_per_host(10)
        .tls_config(TlsConfig::builder().root_certs(RootCerts::new_with_certs(&roots)).build())
        .build();
    Ok(config.new_agent())
}

/// Other protocols are parsed, and then end the thread that would use them.
fn known_proxy(url: &str) -> Result<Proxy> {
    let problem = |problem: &str| Error::Setting { setting: "qbo_raw.proxy", problem: problem.to_owned() };
    let proxy = Proxy::new(url).map_err(|_| problem("it is no proxy URL"))?;
    match proxy.protocol() {
        ProxyProtocol::Http | ProxyProtocol::Https => Ok(proxy),
        _ => Err(problem("a proxy is reached by http:// or https://, nothing else")),
    }
}

fn roots(ca_file: Option<&str>, system: bool) -> Result<Vec<Certificate<'static>>> {
    let mut roots = Vec::new();
    if system {
        let found = rustls_native_certs::load_native_certs().certs;
        roots.extend(found.iter().map(|one| Certificate::from_der(one.as_ref()).to_owned()));
    }
    if let Some(path) = ca_file {
        let problem = |problem: String| Error::Setting { setting: "qbo_raw.ca_file", problem };
        let pem = std::fs::read(path).map_err(|error| problem(format!("\"{path}\": {error}")))?;
        let before = roots.len();
        roots.extend(parse_pem(&pem).filter_map(|item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(certificate),
            _ => None,
        }));
        if roots.len() == before {
            return Err(problem(format!("\"{path}\" holds no certificate")));
        }
    }
    Ok(roots)
}
