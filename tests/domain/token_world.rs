//! A model of Intuit, the config table and two workers, for every way in which they can meet.

use qbo_raw::domain::fault::Failure;
use qbo_raw::domain::secret::Secret;
use qbo_raw::domain::token::{Event, Grant, Renewal, Saved, Step, Stored, Token, TokenAnswer};
use std::time::Duration;

/// What becomes of a refresh token that is spent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// The same is granted again.
    Lazy,
    /// It is dead at once.
    Strict,
    /// It stays good.
    Grace,
    /// It is dead, and to use it again kills what was granted for it.
    Family,
}

/// What may go wrong, how often at most.
#[derive(Debug, Clone, Copy)]
pub struct Chances {
    pub crashes: u32,
    /// Requests, or answers, that get lost on the way.
    pub lost: u32,
    /// Grants that cannot be stored at once.
    pub not_now: u32,
    /// Persons who store new credentials.
    pub persons: u32,
    /// Whether nobody tries the lock while another has it: that only costs a pause.
    pub patient: bool,
}

#[derive(Debug, Clone, Copy)]
struct Issued {
    alive: bool,
    spent: bool,
    person: u32,
}

struct Worker {
    machine: Renewal,
    pending: Option<Step>,
    outcome: Option<Result<Token, Failure>>,
    /// Whether it was told once that the lock is taken; more than once teaches nothing new.
    told: bool,
}

pub struct World {
    mode: Mode,
    left: Chances,
    tokens: Vec<Issued>,
    stored: Stored,
    lock: Option<usize>,
    workers: [Worker; 2],
    refused: [Option<u64>; 2],
    posts: u32,
    marks: u32,
    /// Whether anything went wrong so far: a crash, or something lost.
    trouble: bool,
}

/// What one worker, or a person, does next.
#[derive(Debug, Clone, Copy)]
pub enum Act {
    Go(usize),
    LoseRequest(usize),
    LoseAnswer(usize),
    NotNow(usize),
    Crash(usize),
    Person,
}

fn text(token: usize) -> Secret {
    Secret::new(format!("t{token}"))
}

fn number(secret: &Secret) -> usize {
    secret.expose()[1..].parse().unwrap()
}

fn worker(refused: Option<u64>, told: bool) -> Worker {
    let mut machine = Renewal::new(refused);
    let pending = Some(machine.step(Event::Start));
    Worker { machine, pending, outcome: None, told }
}

impl World {
    pub fn new(mode: Mode, left: Chances, refused: [Option<u64>; 2]) -> Self {
        let stored = Stored {
            generation: 0,
            refresh: Some(text(0)),
            access: Some(Secret::new("old")),
            access_left: None,
            auth_state: "ok".to_owned(),
        };
        World {
            mode,
            left,
            tokens: vec![Issued { alive: true, spent: false, person: 0 }],
            stored,
            lock: None,
            workers: refused.map(|refused| worker(refused, left.patient)),
            refused,
            posts: 0,
            marks: 0,
            trouble: false,
        }
    }

    pub fn acts(&self) -> Vec<Act> {
        let mut acts = Vec::new();
        for (n, worker) in self.workers.iter().enumerate() {
            let Some(step) = &worker.pending else { continue };
            let blocked =
                matches!(step, Step::TryLock) && worker.told && self.lock.is_some_and(|owner| owner != n);
            if !blocked {
                acts.push(Act::Go(n));
            }
            if matches!(step, Step::Post(_)) && self.left.lost > 0 {
                acts.extend([Act::LoseRequest(n), Act::LoseAnswer(n)]);
            }
            if matches!(step, Step::Save { .. }) && self.left.not_now > 0 {
                acts.push(Act::NotNow(n));
            }
            // Who has not got the lock yet has done nothing that a crash could interrupt.
            if self.left.crashes > 0 && !matches!(step, Step::TryLock | Step::Pause(_)) {
                acts.push(Act::Crash(n));
            }
        }
        if !acts.is_empty() && self.left.persons > 0 {
            acts.push(Act::Person);
        }
        acts
    }

    pub fn act(&mut self, act: Act) {
        match act {
            Act::Go(n) => self.go(n, act),
            Act::LoseRequest(n) | Act::LoseAnswer(n) => {
                (self.left.lost, self.trouble) = (self.left.lost - 1, true);
                self.go(n, act);
            }
            Act::NotNow(n) => {
                self.left.not_now -= 1;
                self.go(n, act);
            }
            Act::Crash(n) => {
                (self.left.crashes, self.trouble) = (self.left.crashes - 1, true);
                self.lock = self.lock.filter(|owner| *owner != n);
                self.workers[n] = worker(self.refused[n], self.left.patient);
            }
            // Without the lock: nobody who connects a company waits for a run.
            Act::Person => {
                self.left.persons -= 1;
                let person = self.tokens.len() as u32;
                self.tokens.push(Issued { alive: true, spent: false, person });
                self.stored.generation += 1;
                self.stored.refresh = Some(text(self.tokens.len() - 1));
                (self.stored.access, self.stored.access_left) = (None, None);
                self.stored.auth_state = "ok".to_owned();
            }
        }
    }

    /// Does the step of a worker and tells it what happened.
    fn go(&mut self, n: usize, act: Act) {
        let step = self.workers[n].pending.take().unwrap();
        let alone = self.lock == Some(n);
        if !matches!(step, Step::TryLock | Step::Pause(_) | Step::Finish(_)) {
            assert!(alone, "{step:?} without the lock");
        }
        let event = match step {
            Step::TryLock => {
                let free = self.lock.is_none();
                if free {
                    self.lock = Some(n);
                }
                self.workers[n].told |= !free;
                Event::Locked(free)
            }
            Step::Pause(_) => Event::Waited,
            Step::Read => Event::Row(Some(self.stored.clone())),
            Step::WriteIntent => Event::Intended,
            Step::Post(token) => Event::Answered(self.post(number(&token), act)),
            Step::Save { seen, used, grant } => Event::Saved(self.save(seen, &used, grant, act)),
            Step::Mark { seen, state, .. } => {
                assert_eq!(state, "needs_reauth");
                if seen == self.stored.generation {
                    self.stored.auth_state = state.to_owned();
                    self.marks += 1;
                }
                Event::Marked
            }
            Step::Unlock => {
                self.lock = None;
                Event::Unlocked
            }
            Step::Finish(outcome) => {
                assert!(!alone, "it ends and keeps the lock");
                self.workers[n].outcome = Some(outcome);
                return;
            }
        };
        self.workers[n].pending = Some(self.workers[n].machine.step(event));
    }

    fn post(&mut self, token: usize, act: Act) -> TokenAnswer {
        assert_ne!(self.stored.auth_state, "needs_reauth", "nobody asks again");
        let lost = TokenAnswer::Unknown { message: "lost".to_owned() };
        if matches!(act, Act::LoseRequest(_)) {
            return lost;
        }
        self.posts += 1;
        let Issued { alive, spent, person } = self.tokens[token];
        assert!(
            !spent || self.trouble || self.mode == Mode::Lazy,
            "a token is spent twice and nothing was lost"
        );
        self.tokens[token].spent = true;
        let refused = !alive || (spent && self.mode == Mode::Family);
        if refused {
            if self.mode == Mode::Family {
                self.tokens
                    .iter_mut()
                    .filter(|other| other.person == person)
                    .for_each(|other| other.alive = false);
            }
            return TokenAnswer::InvalidGrant { description: "refused".to_owned() };
        }
        let next = if self.mode == Mode::Lazy { token } else { self.tokens.len() };
        if self.mode != Mode::Lazy {
            self.tokens[token].alive = self.mode != Mode::Strict;
            self.tokens.push(Issued { alive: true, spent: false, person });
        }
        if matches!(act, Act::LoseAnswer(_)) {
            return lost;
        }
        TokenAnswer::Granted(Grant {
            access: Secret::new(format!("access of t{next}")),
            refresh: (self.mode != Mode::Lazy).then(|| text(next)),
            expires_in: Duration::from_secs(3_600),
            refresh_expires_in: None,
            refresh_hard_expires_in: None,
        })
    }

    fn save(&mut self, seen: u64, used: &Secret, grant: Grant, act: Act) -> Saved {
        if matches!(act, Act::NotNow(_)) {
            return Saved::NotNow;
        }
        if seen != self.stored.generation {
            return Saved::Superseded;
        }
        assert_eq!(self.stored.refresh.as_ref().map(number), Some(number(used)));
        self.stored.generation += 1;
        self.stored.refresh = grant.refresh.or(self.stored.refresh.take());
        self.stored.access = Some(grant.access);
        self.stored.access_left = Some(grant.expires_in);
        Saved::Stored
    }

    /// What must hold when all workers have ended.
    pub fn check(&self, chances: Chances) {
        let stored = self.stored.refresh.as_ref().map(number).unwrap();
        let good = self.tokens[stored].alive && !(self.mode == Mode::Family && self.tokens[stored].spent);
        let marked = self.stored.auth_state == "needs_reauth";
        assert!(good || marked, "lost in silence");
        assert!(!(marked && good), "given up although it is good");
        assert!(self.trouble || !marked, "lost although nothing went wrong");
        assert!(!marked || matches!(self.mode, Mode::Strict | Mode::Family));
        assert!(self.marks <= 1 + chances.persons);
        if !self.trouble && chances.persons == 0 {
            assert_eq!((self.posts, self.stored.generation), (1, 1), "one renewal is enough for both");
        }
        for worker in &self.workers {
            match worker.outcome.as_ref().unwrap() {
                Ok(token) => assert!(token.generation <= self.stored.generation),
                // A person may come between the last look and the mark; then the mark is not set, and theirs stays.
                Err(failure) => assert!(self.marks > 0 || chances.persons > 0, "{failure:?}"),
            }
        }
    }
}
