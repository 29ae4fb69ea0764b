//! Tokens: issuing, redeeming, rotating. Intuit changes a refresh token's value about once a day; what becomes of the old
//! one its documents tell in four ways, and there is a mode for each.

use std::collections::HashMap;
use std::time::{Duration, Instant};

/// What becomes of a refresh token when it is redeemed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenMode {
    /// The same value comes back, until a rotation is due; then the old one is dead.
    Lazy,
    /// Each redemption gives a new value, the old one is dead at once.
    Strict,
    /// Each gives a new value, the one before is still good and gives the newest again.
    Grace,
    /// Each gives a new value; redeeming an old one revokes them all.
    Family,
}

/// What happened to tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenEvent {
    Issued(String),
    Redeemed(String),
    Rejected(String),
    Revoked,
}

/// The tokens of a company.
pub struct Tokens {
    pub mode: TokenMode,
    pub ttl: Duration,
    current: String,
    previous: Vec<String>,
    revoked: bool,
    rotate_next: bool,
    access: HashMap<String, Instant>,
    codes: HashMap<String, String>,
    count: u64,
    seed: u64,
    log: Vec<TokenEvent>,
}

/// A pair of tokens.
pub struct Pair {
    pub access: String,
    pub refresh: String,
}

impl Tokens {
    /// With one refresh token issued.
    pub fn new(seed: u64, mode: TokenMode, ttl: Duration, first: Option<String>) -> Self {
        let mut tokens = Tokens {
            mode,
            ttl,
            current: String::new(),
            previous: Vec::new(),
            revoked: false,
            rotate_next: false,
            access: HashMap::new(),
            codes: HashMap::new(),
            count: 0,
            seed,
            log: Vec::new(),
        };
        tokens.current = first.unwrap_or_else(|| tokens.make("RT1"));
        tokens.log.push(TokenEvent::Issued(tokens.current.clone()));
        tokens
    }

    /// A text that looks like a token and is new.
    fn make(&mut self, kind: &str) -> String {
        self.count += 1;
        let mut dice = crate::record::Dice::new(self.seed, kind, self.count);
        format!("{kind}-{}-{:016x}{:016x}{:016x}", self.count, dice.roll(), dice.roll(), dice.roll())
    }

    fn issue(&mut self) -> Pair {
        let access = self.make("AT");
        self.access.insert(access.clone(), Instant::now() + self.ttl);
        Pair { access, refresh: self.current.clone() }
    }

    /// Redeems a refresh token. None: invalid_grant.
    pub fn redeem(&mut self, refresh: &str) -> Option<Pair> {
        let good = !self.revoked
            && (refresh == self.current
                || (self.mode == TokenMode::Grace
                    && self.previous.last().is_some_and(|last| last == refresh)));
        if !good {
            if self.mode == TokenMode::Family && self.previous.iter().any(|old| old == refresh) {
                self.revoke();
            }
            self.log.push(TokenEvent::Rejected(refresh.to_owned()));
            return None;
        }
        self.log.push(TokenEvent::Redeemed(refresh.to_owned()));
        let rotates = self.mode != TokenMode::Lazy || std::mem::take(&mut self.rotate_next);
        if rotates && refresh == self.current {
            let next = self.make("RT1");
            let old = std::mem::replace(&mut self.current, next);
            self.previous.push(old);
            self.log.push(TokenEvent::Issued(self.current.clone()));
        }
        Some(self.issue())
    }

    /// The next redemption changes the refresh token, as the first one of a day does.
    pub fn rotate_next(&mut self) {
        self.rotate_next = true;
    }

    /// A code for the consent page's redirect.
    pub fn code(&mut self, redirect_uri: &str) -> String {
        let code = self.make("AC");
        self.codes.insert(code.clone(), redirect_uri.to_owned());
        code
    }

    /// Exchanges a code, once.
    pub fn exchange(&mut self, code: &str, redirect_uri: &str) -> Option<Pair> {
        let granted = self.codes.remove(code).is_some_and(|uri| uri == redirect_uri);
        if !granted {
            return None;
        }
        let next = self.make("RT1");
        let old = std::mem::replace(&mut self.current, next);
        self.previous.push(old);
        self.revoked = false;
        self.log.push(TokenEvent::Issued(self.current.clone()));
        Some(self.issue())
    }

    /// All tokens are void.
    pub fn revoke(&mut self) {
        self.revoked = true;
        self.access.clear();
        self.log.push(TokenEvent::Revoked);
    }

    /// Whether a text is a good access token now.
    pub fn is_good(&self, access: &str) -> bool {
        self.access.get(access).is_some_and(|end| Instant::now() < *end)
    }

    /// Every access token has run out.
    pub fn expire_access(&mut self) {
        self.access.clear();
    }

    /// The newest refresh token.
    pub fn current(&self) -> &str {
        &self.current
    }

    /// What happened so far.
    pub fn log(&self) -> &[TokenEvent] {
        &self.log
    }
}
