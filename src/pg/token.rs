//! Renewing the token of a connection: does what `domain::token` says, step by step. No transaction is open while Intuit is
//! asked, and from the moment a token is spent until the answer is stored nothing interrupts.

use super::config::{self, Client, Connection};
use super::latch::{self, Hold};
use super::lock::{self, Lock};
use super::raise;
use super::spi;
use super::time;
use crate::domain::fault::{Failure, Scope};
use crate::domain::secret::{Redactor, Secret};
use crate::domain::token::{Event, Renewal, Saved, Step, Token, TokenAnswer};
use crate::error::{Error, Result};
use crate::http::agent::Hosts;
use crate::http::oauth;
use std::time::{Duration, Instant};
use ureq::Agent;

/// Renews the token of one connection.
pub struct Keeper {
    connection: i32,
    client: Client,
    agent: Agent,
    oauth_base: String,
}

impl Keeper {
    /// For this connection, over this agent.
    pub fn new(connection: &Connection, agent: &Agent, hosts: &Hosts) -> Self {
        Keeper {
            connection: connection.id,
            client: connection.client.clone(),
            agent: agent.clone(),
            oauth_base: hosts.oauth.clone(),
        }
    }

    /// Gets a token of another generation than `refused`: one that somebody stored meanwhile, or a new one. `given_up` is
    /// asked during pauses; the renewal ends when it says yes.
    pub fn renew(
        &self,
        refused: Option<u64>,
        mut given_up: impl FnMut() -> Result<bool>,
    ) -> std::result::Result<Token, Box<Failure>> {
        let mut renewal = Renewal::new(refused);
        let mut client = self.client.clone();
        let mut hold: Option<Hold> = None;
        let mut unsaved = false;
        let mut locked = false;
        let mut event = Event::Start;
        let outcome = loop {
            let outcome = match renewal.step(event) {
                Step::Finish(outcome) => break outcome,
                Step::TryLock => {
                    spi::transaction(|| lock::try_take(Lock::Token, self.connection)).map(|taken| {
                        locked = taken;
                        point!("token@locked");
                        Event::Locked(taken)
                    })
                }
                Step::Unlock => spi::transaction(|| lock::release(Lock::Token, self.connection)).map(|_| {
                    locked = false;
                    point!("token@unlocked");
                    Event::Unlocked
                }),
                Step::Pause(pause) => {
                    // What cannot be stored keeps nobody from ending the process for ever.
                    hold = hold.filter(|hold| !hold.is_over_after(pause));
                    self.pause(pause, unsaved, &mut given_up).map(|()| Event::Waited)
                }
                Step::Read => {
                    (hold, unsaved) = (None, false);
                    let row = spi::transaction(|| config::tokens(self.connection));
                    point!("token@read");
                    // A secret that was rotated since the run began counts from now on.
                    row.map(|row| {
                        Event::Row(row.map(|(stored, known)| {
                            client = known.unwrap_or_else(|| client.clone());
                            stored
                        }))
                    })
                }
                Step::WriteIntent => {
                    let intended = spi::patiently(&mut given_up, || {
                        config::announce(self.connection)?;
                        point!("token@announcing");
                        Ok(Event::Intended)
                    });
                    point!("token@announced");
                    // A cancel ends the wait of a commit for a standby, not the commit: the token is not spent for who gave up.
                    intended.and_then(|event| if given_up()? { Err(Error::cancelled()) } else { Ok(event) })
                }
                Step::Post(refresh) => {
                    hold = Some(Hold::begin());
                    point!("token@spending");
                    let answer = self.post(&client, &refresh);
                    point!("token@heard");
                    unsaved = matches!(answer, TokenAnswer::Granted(_));
                    hold = hold.filter(|_| unsaved);
                    if let Some(hold) = &mut hold {
                        hold.limit();
                    }
                    Ok(Event::Answered(answer))
                }
                Step::Save { used, grant, .. } => {
                    let saved = self.save(&used, &grant);
                    point!("token@saved");
                    if saved == Saved::Stored {
                        (hold, unsaved) = (None, false);
                    }
                    Ok(Event::Saved(saved))
                }
                Step::Mark { seen, state, message } => {
                    spi::patiently(&mut given_up, || config::mark(self.connection, seen, state, &message))
                        .map(|()| Event::Marked)
                }
            };
            match outcome {
                Ok(next) => event = next,
                Err(error) => break Err(failed(&error)),
            }
        };
        drop(hold);
        if locked && spi::transaction(|| lock::release(Lock::Token, self.connection)).is_err() {
            raise::warning("qbo_raw: the token lock could not be given back".to_owned(), None);
        }
        outcome.map_err(Box::new)
    }

    /// Spends the refresh token, on a thread of its own; the main thread waits on its latch.
    fn post(&self, client: &Client, refresh: &Secret) -> TokenAnswer {
        let (agent, base, id) = (self.agent.clone(), self.oauth_base.clone(), client.id.clone());
        let (secret, token) = (client.secret.clone(), refresh.clone());
        let answer = latch::call(move || {
            point!("token@sending");
            let answer = oauth::refresh(&agent, &base, &id, &secret, &token);
            point!("token@answered");
            answer
        });
        let redactor = Redactor::new(&[&client.secret, refresh]);
        answer
            .unwrap_or(TokenAnswer::Unknown { message: "the call did not return".to_owned() })
            .scrubbed(&redactor)
    }

    fn save(&self, used: &Secret, grant: &crate::domain::token::Grant) -> Saved {
        let saved = spi::transaction(|| {
            let saved = config::save(self.connection, used, grant, time::now())?;
            point!("token@saving");
            Ok(saved)
        });
        match saved {
            Ok(saved) => saved,
            // The extension was dropped: there is nothing left to keep it in.
            Err(error) if ["42P01", "3F000"].contains(&error.sqlstate()) => Saved::Superseded,
            Err(error) => {
                let text = "qbo_raw: a new token could not be stored yet, it is tried again: ";
                raise::warning([text, &error.to_string()].concat(), None);
                Saved::NotNow
            }
        }
    }

    /// Waits. While a token is unsaved nobody can give up.
    fn pause(
        &self,
        pause: Duration,
        unsaved: bool,
        given_up: &mut impl FnMut() -> Result<bool>,
    ) -> Result<()> {
        let until = Instant::now() + pause;
        while let Some(left) = until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
            latch::wait(left.min(Duration::from_secs(1)));
            if !unsaved && given_up()? {
                return Err(Error::cancelled());
            }
        }
        Ok(())
    }
}

/// PostgreSQL refused a step of the protocol: nothing was spent, or it is stored.
fn failed(error: &Error) -> Failure {
    let mut failure =
        Failure::new(error.code(), "55000", ["the token cannot be renewed: ", &error.to_string()].concat());
    failure.hint = error.hint();
    failure.scope(Scope::Run)
}
