//! Tokens: issuing, redeeming, rotating. Intuit changes a refresh token's value about once a day; what becomes of
//! the old one its documents tell in four ways, and there is a mode for each.

use crate::record::Dice;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// What becomes of a refresh token when it is redeemed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenMode {
    /// The same value comes back for a day; then a new one, and the old one is dead.
    Lazy,
    /// Each redemption gives a new value, the old one is dead at once.
    Strict,
    /// Each gives a new value; the one before is good for a while yet, and gives the newest again.
    Grace,
    /// Each gives a new value; redeeming an old one revokes them all.
    Family,
}

/// What happened to tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenEvent {
    /// A new refresh token.
    Issued(String),
    /// A new access token.
    AccessIssued(String),
    /// A refresh token was redeemed.
    Redeemed(String),
    /// A refresh token was presented and refused.
    Rejected(String),
    /// All are void.
    Revoked,
}

/// What an access token is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    Good,
    /// Run out, revoked, or never issued: QuickBooks says the same to all three.
    Expired,
    Malformed,
}

/// A refresh token changes its value after this long.
const DAY: Duration = Duration::from_secs(86_400);

/// A code of the consent page can be exchanged for this long.
const CODE_LIFE: Duration = Duration::from_secs(600);

struct Code {
    redirect_uri: String,
    made: Instant,
    used: bool,
}

/// The tokens of a company.
pub struct Tokens {
    mode: TokenMode,
    /// Life of an access token.
    pub ttl: Duration,
    grace: Duration,
    current: String,
    current_since: Instant,
    previous: Vec<(String, Instant)>,
    revoked: bool,
    rotate_next: bool,
    access: HashMap<String, Instant>,
    codes: HashMap<String, Code>,
    count: u64,
    seed: u64,
    /// What happened so far.
    pub log: Vec<TokenEvent>,
}

/// A pair of tokens.
pub struct Pair {
    pub access: String,
    pub refresh: String,
}

impl Tokens {
    /// With one refresh token issued.
    pub fn new(seed: u64, mode: TokenMode, ttl: Duration, grace: Duration, first: Option<String>) -> Self {
        let mut tokens = Tokens {
            mode,
            ttl,
            grace,
            current: String::new(),
            current_since: Instant::now(),
            previous: Vec::new(),
            revoked: false,
            rotate_next: false,
            access: HashMap::new(),
            codes: HashMap::new(),
            count: 0,
            seed,
            log: Vec::new(),
        };
        tokens.current = first.unwrap_or_else(|| tokens.make("RT1", 30));
        tokens.log.push(TokenEvent::Issued(tokens.current.clone()));
        tokens
    }

    /// A text that looks like a token and is new.
    fn make(&mut self, kind: &str, length: usize) -> String {
        const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
        self.count += 1;
        let mut dice = Dice::new(self.seed, kind, self.count);
        let letter =
            |_| LETTERS.get(dice.below(LETTERS.len() as u64) as usize).map_or('0', |byte| char::from(*byte));
        format!("{kind}-{}-H0-{}", self.count, (0..length).map(letter).collect::<String>())
    }

    fn issue(&mut self) -> Pair {
        // As long as real ones, which are encrypted JWTs.
        let access = self.make("eyJlbmMiOiJBMTI4Q0JDLUhTMjU2IiwiYWxnIjoiZGlyIn0", 780);
        self.access.insert(access.clone(), Instant::now() + self.ttl);
        self.log.push(TokenEvent::AccessIssued(access.clone()));
        Pair { access, refresh: self.current.clone() }
    }

    fn rotate(&mut self) {
        let next = self.make("RT1", 30);
        let old = std::mem::replace(&mut self.current, next);
        self.previous.push((old, Instant::now()));
        self.current_since = Instant::now();
        self.log.push(TokenEvent::Issued(self.current.clone()));
    }

    /// Redeems a refresh token. None: invalid_grant.
    pub fn redeem(&mut self, refresh: &str) -> Option<Pair> {
        let is_current = refresh == self.current;
        let in_grace = |(old, since): &(String, Instant)| old == refresh && since.elapsed() < self.grace;
        let is_good =
            is_current || (self.mode == TokenMode::Grace && self.previous.last().is_some_and(in_grace));
        if self.revoked || !is_good {
            self.log.push(TokenEvent::Rejected(refresh.to_owned()));
            if self.mode == TokenMode::Family
                && !self.revoked
                && self.previous.iter().any(|(old, _)| old == refresh)
            {
                self.revoke();
            }
            return None;
        }
        self.log.push(TokenEvent::Redeemed(refresh.to_owned()));
        let due = std::mem::take(&mut self.rotate_next) || self.current_since.elapsed() >= DAY;
        if is_current && (self.mode != TokenMode::Lazy || due) {
            self.rotate();
        }
        Some(self.issue())
    }

    /// The next redemption changes the refresh token, as the first one of a day does.
    pub fn rotate_next(&mut self) {
        self.rotate_next = true;
    }

    /// A code for the consent page's redirect.
    pub fn code(&mut self, redirect_uri: &str) -> String {
        let code = self.make("AB1", 40);
        self.codes.insert(
            code.clone(),
            Code { redirect_uri: redirect_uri.to_owned(), made: Instant::now(), used: false },
        );
        code
    }

    /// Exchanges a code. It works once: a second exchange revokes the tokens of the first. Connecting a company again makes
    /// its earlier tokens void.
    pub fn exchange(&mut self, code: &str, redirect_uri: &str) -> Option<Pair> {
        let code = self.codes.get_mut(code)?;
        if code.used {
            self.revoke();
            return None;
        }
        if code.redirect_uri != redirect_uri || code.made.elapsed() > CODE_LIFE {
            return None;
        }
        code.used = true;
        self.access.clear();
        self.rotate();
        self.previous.clear();
        self.revoked = false;
        Some(self.issue())
    }

    /// All tokens are void.
    pub fn revoke(&mut self) {
        self.revoked = true;
        self.access.clear();
        self.log.push(TokenEvent::Revoked);
    }

    /// Whether this is a token that is good now, of either kind.
    pub fn is_known(&self, token: &str) -> bool {
        !self.revoked && (token == self.current || self.access.contains_key(token))
    }

    /// What an access token is worth now.
    pub fn access(&self, token: &str) -> Access {
        match self.access.get(token) {
            Some(end) if Instant::now() < *end => Access::Good,
            _ if token.len() < 10 || token.len() > 4_096 => Access::Malformed,
            _ => Access::Expired,
        }
    }

    /// Every access token has run out.
    pub fn expire_access(&mut self) {
        self.access.clear();
    }

    /// The newest refresh token.
    pub fn current(&self) -> &str {
        &self.current
    }
}

/// A short text that tells tokens apart without telling them.
pub fn fingerprint(token: &str) -> String {
    let hash = token
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash: u64, b| (hash ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3));
    format!("{hash:016x}")
}
