//! The protocol by which a token is renewed. Intuit replaces the refresh token about once a day and kills the old one; a
//! token that was spent and not stored is lost. So: one at a time under a lock; the intent is committed before the token is
//! spent; the answer is committed before it is used; a token that was not rejected is never given up; and when it was, the
//! connection says so and nobody asks again.

use super::fault::{Failure, Scope};
use super::secret::{Redactor, Secret};
use std::time::Duration;

/// What the config table holds.
#[derive(Debug, Clone)]
pub struct Stored {
    pub generation: u64,
    pub refresh: Option<Secret>,
    pub access: Option<Secret>,
    /// How long the access token is still good; None when it is not.
    pub access_left: Option<Duration>,
    pub auth_state: String,
}

/// What Intuit grants.
#[derive(Debug, Clone)]
pub struct Grant {
    pub access: Secret,
    /// The next refresh token; without one the old one stays.
    pub refresh: Option<Secret>,
    pub expires_in: Duration,
    pub refresh_expires_in: Option<Duration>,
    pub refresh_hard_expires_in: Option<Duration>,
}

/// Shortest and longest life that is believed of an access token; Intuit's live an hour.
pub const LIFE: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(3_600));

/// What the token endpoint answered.
#[derive(Debug, Clone)]
pub enum TokenAnswer {
    Granted(Grant),
    /// The refresh token is refused.
    InvalidGrant {
        description: String,
    },
    /// The client id or secret is refused.
    InvalidClient {
        description: String,
    },
    /// No answer, or none that says anything: whether the token was spent is not known.
    Unknown {
        message: String,
    },
}

impl TokenAnswer {
    /// Without the secrets that a refusal may repeat.
    pub fn scrubbed(self, redactor: &Redactor) -> Self {
        match self {
            TokenAnswer::Granted(grant) => TokenAnswer::Granted(grant),
            TokenAnswer::InvalidGrant { description } => {
                TokenAnswer::InvalidGrant { description: redactor.scrub(&description) }
            }
            TokenAnswer::InvalidClient { description } => {
                TokenAnswer::InvalidClient { description: redactor.scrub(&description) }
            }
            TokenAnswer::Unknown { message } => TokenAnswer::Unknown { message: redactor.scrub(&message) },
        }
    }
}

/// An access token to use.
#[derive(Debug, Clone)]
pub struct Token {
    pub generation: u64,
    pub access: Secret,
    pub valid_for: Duration,
}

/// What became of storing a grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Saved {
    Stored,
    /// Somebody wrote other credentials meanwhile; theirs stay.
    Superseded,
    /// Not now: a lock, a full disk.
    NotNow,
}

/// What is to be done.
#[derive(Debug)]
pub enum Step {
    TryLock,
    Pause(Duration),
    Read,
    WriteIntent,
    /// Spend the token. From here to the end of `Save` nothing may interrupt.
    Post(Secret),
    Save {
        seen: u64,
        used: Secret,
        grant: Grant,
    },
    Mark {
        seen: u64,
        state: &'static str,
        message: String,
    },
    Unlock,
    Finish(Result<Token, Failure>),
}

/// What happened.
#[derive(Debug)]
pub enum Event {
    Start,
    Locked(bool),
    Waited,
    Row(Option<Stored>),
    Intended,
    Answered(TokenAnswer),
    Saved(Saved),
    Marked,
    Unlocked,
}

#[derive(Debug)]
enum State {
    New,
    Locking,
    LockPause,
    Reading,
    Intending,
    Posting,
    PostPause,
    Saving(Grant),
    SavePause(Grant),
    Marking,
    Unlocking(Result<Token, Failure>),
    Over,
}

/// The machine.
#[derive(Debug)]
pub struct Renewal {
    /// Generation that was refused or has run out; None when any good one will do.
    refused: Option<u64>,
    state: State,
    /// The token being spent, with its generation.
    spending: Option<(u64, Secret)>,
    /// What Intuit refused, until the mark is read back.
    refusal: Option<Failure>,
    lock_tries: u32,
    post_tries: u32,
    save_tries: u32,
    rounds: u32,
}

const LOCK_PAUSE: Duration = Duration::from_millis(150);
/// A minute of waiting for the lock.
const LOCK_TRIES: u32 = 400;
/// Waits between tries with the same token, in seconds.
const POST_PAUSES: [u64; 3] = [1, 4, 16];
/// A token that somebody else replaced meanwhile is tried so often, no more.
const ROUNDS: u32 = 3;
/// An access token that ends sooner is not worth taking.
const WORTH: Duration = Duration::from_secs(5);

impl Renewal {
    /// Begins. `refused` is the generation of the token that QuickBooks refused or that has run out.
    pub fn new(refused: Option<u64>) -> Self {
        Renewal {
            refused,
            state: State::New,
            spending: None,
            refusal: None,
            lock_tries: 0,
            post_tries: 0,
            save_tries: 0,
            rounds: 0,
        }
    }

    /// One step.
    pub fn step(&mut self, event: Event) -> Step {
        match (std::mem::replace(&mut self.state, State::Over), event) {
            (State::New | State::LockPause, Event::Start | Event::Waited) => {
                self.go(State::Locking, Step::TryLock)
            }
            (State::Locking, Event::Locked(true)) => self.go(State::Reading, Step::Read),
            (State::Locking, Event::Locked(false)) => {
                self.lock_tries += 1;
                if self.lock_tries > LOCK_TRIES {
                    let message = "another session has been renewing the token for a minute";
                    return Step::Finish(Err(
                        Failure::new("token_locked", "55P03", message).scope(Scope::Run)
                    ));
                }
                self.go(State::LockPause, Step::Pause(LOCK_PAUSE))
            }
            (State::Reading, Event::Row(row)) => self.read(row),
            (State::Intending, Event::Intended) => self.post(),
            (State::Posting, Event::Answered(answer)) => self.answered(answer),
            (State::PostPause, Event::Waited) => self.post(),
            (State::Saving(grant), Event::Saved(saved)) => self.saved(grant, saved),
            (State::SavePause(grant), Event::Waited) => self.save(grant),
            // Somebody may have written other credentials right before the mark: then it did not take.
            (State::Marking, Event::Marked) => self.go(State::Reading, Step::Read),
            (State::Unlocking(outcome), Event::Unlocked) => Step::Finish(outcome),
            (state, event) => {
                let what = format!("the token's machine is broken: {event:?} in state {}", label(&state));
                Step::Finish(Err(Failure::new("internal", "XX000", what).scope(Scope::Run)))
            }
        }
    }

    fn go(&mut self, state: State, step: Step) -> Step {
        self.state = state;
        step
    }

    fn unlock(&mut self, outcome: Result<Token, Failure>) -> Step {
        self.go(State::Unlocking(outcome), Step::Unlock)
    }

    fn read(&mut self, row: Option<Stored>) -> Step {
        let Some(row) = row else {
            return self.unlock(Err(blocked("not_configured", "the connection was deleted")));
        };
        match row.auth_state.as_str() {
            "needs_reauth" => return self.unlock(Err(needs_reauth("the company has to be connected again"))),
            "bad_client" => {
                let failure = self.refusal.take();
                let unknown = || bad_client("Intuit does not know the client id or secret");
                return self.unlock(Err(failure.unwrap_or_else(unknown)));
            }
            _ => {}
        }
        // Somebody else may have renewed it while we waited for the lock.
        let valid_for = row.access_left.unwrap_or_default();
        if let Some(access) = row.access.filter(|_| self.refused != Some(row.generation) && valid_for > WORTH)
        {
            return self.unlock(Ok(Token { generation: row.generation, access, valid_for }));
        }
        let spent = self.spending.as_ref().map(|(generation, _)| *generation);
        match row.refresh {
            None => self.unlock(Err(needs_reauth("there is no refresh token"))),
            // It was rejected, and it is still the newest there is.
            Some(_) if spent == Some(row.generation) => {
                let failure = needs_reauth("Intuit rejected the refresh token");
                let message = failure.message.clone();
                self.refusal = Some(failure);
                self.go(State::Marking, Step::Mark { seen: row.generation, state: "needs_reauth", message })
            }
            Some(_) if self.rounds >= ROUNDS => {
                let message = "the stored token changed again and again while it was renewed";
                self.unlock(Err(Failure::new("token_contended", "40001", message).scope(Scope::Run)))
            }
            Some(refresh) => {
                self.rounds += 1;
                self.post_tries = 0;
                self.spending = Some((row.generation, refresh));
                self.go(State::Intending, Step::WriteIntent)
            }
        }
    }

    fn post(&mut self) -> Step {
        match self.spending.clone() {
            Some((_, refresh)) => self.go(State::Posting, Step::Post(refresh)),
            None => {
                self.unlock(Err(Failure::new("internal", "XX000", "no token to spend").scope(Scope::Run)))
            }
        }
    }

    fn answered(&mut self, answer: TokenAnswer) -> Step {
        match answer {
            TokenAnswer::Granted(grant) => self.save(grant),
            // Look once more: a person or a sibling may have written a newer one.
            TokenAnswer::InvalidGrant { .. } => self.go(State::Reading, Step::Read),
            TokenAnswer::InvalidClient { description } => {
                let failure = bad_client(&description);
                let message = failure.message.clone();
                self.refusal = Some(failure);
                let seen = self.spending.as_ref().map_or(0, |(generation, _)| *generation);
                self.go(State::Marking, Step::Mark { seen, state: "bad_client", message })
            }
            TokenAnswer::Unknown { message } => match POST_PAUSES.get(self.post_tries as usize) {
                Some(seconds) => {
                    self.post_tries += 1;
                    self.go(State::PostPause, Step::Pause(Duration::from_secs(*seconds)))
                }
                None => self.unlock(Err(Failure::new(
                    "token_unavailable",
                    "08006",
                    format!("Intuit's token service does not answer: {message}"),
                )
                .hint("The refresh token is kept; run it again later.")
                .scope(Scope::Run)
                .outage())),
            },
        }
    }

    fn save(&mut self, grant: Grant) -> Step {
        match self.spending.clone() {
            Some((seen, used)) => self.go(State::Saving(grant.clone()), Step::Save { seen, used, grant }),
            None => {
                self.unlock(Err(Failure::new("internal", "XX000", "no token was spent").scope(Scope::Run)))
            }
        }
    }

    fn saved(&mut self, grant: Grant, saved: Saved) -> Step {
        match saved {
            Saved::Stored => {
                let generation = self.spending.as_ref().map_or(0, |(generation, _)| generation + 1);
                self.unlock(Ok(Token { generation, access: grant.access, valid_for: grant.expires_in }))
            }
            // Ours is dropped, theirs is used.
            Saved::Superseded => {
                self.spending = None;
                self.go(State::Reading, Step::Read)
            }
            // It exists nowhere but here: try until it works.
            Saved::NotNow => {
                self.save_tries += 1;
                let pause =
                    if self.save_tries < 20 { Duration::from_millis(100) } else { Duration::from_secs(1) };
                self.go(State::SavePause(grant), Step::Pause(pause))
            }
        }
    }
}

fn blocked(code: &str, message: &str) -> Failure {
    Failure::new(code, "28000", message).scope(Scope::Blocked)
}

fn needs_reauth(message: &str) -> Failure {
    blocked("needs_reauth", message).hint(
        "Authorize the company again with raw.qb_authorize_url, or store a new refresh token with raw.qb_connect; then raw.qb_resume(run_id) goes on.",
    )
}

fn bad_client(message: &str) -> Failure {
    blocked("bad_client", message).hint(
        "Copy client id and secret from the keys of the app, for the right environment, into raw.qb_connect.",
    )
}

/// Name of a state, without what it carries.
fn label(state: &State) -> &'static str {
    match state {
        State::New => "New",
        State::Locking => "Locking",
        State::LockPause => "LockPause",
        State::Reading => "Reading",
        State::Intending => "Intending",
        State::Posting => "Posting",
        State::PostPause => "PostPause",
        State::Saving(_) => "Saving",
        State::SavePause(_) => "SavePause",
        State::Marking => "Marking",
        State::Unlocking(_) => "Unlocking",
        State::Over => "Over",
    }
}
