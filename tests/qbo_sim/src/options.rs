//! How a simulator is set up. Pure data.

use crate::company::IdOrder;
use crate::http::Certificate;
use crate::limits::Rate;
use crate::service::TokenMode;
use chrono::{DateTime, TimeDelta, TimeZone, Utc};
use std::time::Duration;

/// How the simulator is set up.
#[derive(Debug, Clone)]
pub struct Options {
    /// The same seed gives the same company: a record depends on it and on its number, not on how many there are.
    pub seed: u64,
    /// Address to listen on.
    pub host: String,
    /// 0 = any free port.
    pub port: u16,
    pub tls: bool,
    /// With TLS: which certificate is shown, and how long the handshake waits.
    pub certificate: Certificate,
    pub handshake_stall: Duration,
    /// The company's realm; any other is refused with 403/3100.
    pub realm: String,
    /// Realms that live on other servers: refused with 401/130.
    pub elsewhere: Vec<String>,
    pub client_id: String,
    pub client_secret: String,
    /// The first refresh token; None = one is made.
    pub refresh_token: Option<String>,
    /// QuickBooks' name of an entity, and how many records of it there are.
    pub counts: Vec<(String, u64)>,
    /// The records were last changed in this span.
    pub from: DateTime<Utc>,
    pub to: DateTime<Utc>,
    /// How `ORDERBY Id` sorts.
    pub id_order: IdOrder,
    pub tokens: TokenMode,
    pub access_token_ttl: Duration,
    /// How long an old refresh token is good in the grace mode.
    pub grace: Duration,
    /// None = limits are not enforced.
    pub rate: Option<Rate>,
    /// Added to every answer.
    pub latency: Duration,
    /// How far the service's clock is ahead.
    pub clock_skew: TimeDelta,
}

impl Default for Options {
    fn default() -> Self {
        let day = |month, day| Utc.with_ymd_and_hms(2025, month, day, 0, 0, 0).single().unwrap_or_default();
        Options {
            seed: 42,
            host: "127.0.0.1".to_owned(),
            port: 0,
            tls: false,
            certificate: Certificate::Good,
            handshake_stall: Duration::ZERO,
            realm: "4620816365002384750".to_owned(),
            elsewhere: Vec::new(),
            client_id: "ABsimulatedClientId".to_owned(),
            client_secret: "simulatedClientSecret0123456789".to_owned(),
            refresh_token: None,
            counts: [("Invoice", 500), ("Customer", 60), ("Item", 40)]
                .map(|(name, n)| (name.to_owned(), n))
                .to_vec(),
            from: day(7, 1),
            to: day(9, 30),
            id_order: IdOrder::Number,
            tokens: TokenMode::Lazy,
            access_token_ttl: Duration::from_secs(3_600),
            grace: Duration::from_secs(86_400),
            rate: None,
            latency: Duration::ZERO,
            clock_skew: TimeDelta::zero(),
        }
    }
}
