//! The states of one execution environment, without any I/O: which call of the Runtime API is due, and what it does.
//!
//! ```text
//! Init --next--> Idle --(submit + next)--> Busy --response | error--> Idle …
//!   \--init error--> Ended <--the process ends-- any
//! ```

use bytes::Bytes;
use tokio::sync::oneshot;

/// One event on its way to a function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invocation {
    /// `Lambda-Runtime-Aws-Request-Id`.
    pub request_id: String,
    /// The event's bytes.
    pub event: Bytes,
    /// `Lambda-Runtime-Deadline-Ms`: milliseconds since 1970.
    pub deadline_ms: i64,
    /// `Lambda-Runtime-Trace-Id`.
    pub trace_id: String,
}

/// How an invocation ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The function's answer.
    Response(Bytes),
    /// The function says that it failed.
    Error(Bytes),
    /// The answer is over Lambda's 6 MB.
    TooLarge,
    /// The process ended.
    Ended(String),
}

/// What came of the initialisation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Init {
    /// Not yet known.
    Pending,
    /// The function asked for its first event.
    Ready,
    /// The function reported an error, or its process ended.
    Failed(String),
}

/// A call that the Runtime API does not allow now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Not in this state (403).
    #[error("State transition is not allowed")]
    InvalidStateTransition,
    /// Not the invocation that is under way (400).
    #[error("Invalid request ID")]
    InvalidRequestId,
}

/// The answer to `next`.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// Here is an event.
    Event(Invocation),
    /// None yet.
    Wait,
}

#[derive(Debug)]
enum Phase {
    Init,
    Idle,
    Busy { request_id: String, reply: oneshot::Sender<Outcome> },
    Ended(String),
}

/// The state machine of one environment. At most one invocation at a time, as at Lambda.
#[derive(Debug)]
pub struct Session {
    phase: Phase,
    init: Init,
    pending: Option<(Invocation, oneshot::Sender<Outcome>)>,
}

impl Default for Session {
    fn default() -> Self {
        Self { phase: Phase::Init, init: Init::Pending, pending: None }
    }
}

impl Session {
    /// What came of the initialisation.
    #[must_use]
    pub fn init(&self) -> &Init {
        &self.init
    }

    /// Whether the environment can take an invocation, now or when the current one is over.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        !matches!(self.phase, Phase::Ended(_))
    }

    /// Hands over an event; the receiver yields how it ended. A second event before that replaces nothing: it ends at once.
    pub fn submit(&mut self, invocation: Invocation) -> oneshot::Receiver<Outcome> {
        let (reply, outcome) = oneshot::channel();
        let refusal = match &self.phase {
            Phase::Ended(why) => Some(why.clone()),
            Phase::Busy { .. } => Some("another invocation is under way".to_owned()),
            Phase::Init | Phase::Idle if self.pending.is_some() => Some("another invocation is waiting".to_owned()),
            Phase::Init | Phase::Idle => None,
        };
        match refusal {
            // The receiver is in this function's hands: sending cannot fail.
            Some(why) => drop(reply.send(Outcome::Ended(why))),
            None => self.pending = Some((invocation, reply)),
        }
        outcome
    }

    /// `GET …/invocation/next`.
    ///
    /// # Errors
    /// When the last event has not been answered, or the environment has ended.
    pub fn next_event(&mut self) -> Result<Next, Refused> {
        match self.phase {
            Phase::Busy { .. } | Phase::Ended(_) => return Err(Refused::InvalidStateTransition),
            Phase::Init => {
                self.phase = Phase::Idle;
                self.init = Init::Ready;
            }
            Phase::Idle => {}
        }
        let Some((invocation, reply)) = self.pending.take() else { return Ok(Next::Wait) };
        self.phase = Phase::Busy { request_id: invocation.request_id.clone(), reply };
        Ok(Next::Event(invocation))
    }

    /// `POST …/invocation/ID/response` and `…/error`.
    ///
    /// # Errors
    /// When no invocation is under way, or another one.
    pub fn finish(&mut self, id: &str, outcome: Outcome) -> Result<(), Refused> {
        match std::mem::replace(&mut self.phase, Phase::Idle) {
            Phase::Busy { request_id, reply } if request_id == id => {
                // Nobody waits any more after a time-out: the answer is late and dropped.
                let _ = reply.send(outcome);
                Ok(())
            }
            busy @ Phase::Busy { .. } => {
                self.phase = busy;
                Err(Refused::InvalidRequestId)
            }
            other => {
                self.phase = other;
                Err(Refused::InvalidStateTransition)
            }
        }
    }

    /// `POST …/runtime/init/error`.
    ///
    /// # Errors
    /// When the initialisation is over.
    pub fn init_error(&mut self, message: String) -> Result<(), Refused> {
        if !matches!(self.phase, Phase::Init) {
            return Err(Refused::InvalidStateTransition);
        }
        self.end(message);
        Ok(())
    }

    /// The process has ended; the first reason stays.
    pub fn end(&mut self, why: String) {
        if self.init == Init::Pending {
            self.init = Init::Failed(why.clone());
        }
        if let Some((_, reply)) = self.pending.take() {
            let _ = reply.send(Outcome::Ended(why.clone()));
        }
        match std::mem::replace(&mut self.phase, Phase::Ended(why.clone())) {
            Phase::Busy { reply, .. } => drop(reply.send(Outcome::Ended(why))),
            ended @ Phase::Ended(_) => self.phase = ended,
            Phase::Init | Phase::Idle => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::{Init, Invocation, Next, Outcome, Refused, Session};

    fn invocation(id: &str) -> Invocation {
        Invocation {
            request_id: id.to_owned(),
            event: Bytes::from_static(b"{}"),
            deadline_ms: 1,
            trace_id: String::new(),
        }
    }

    #[test]
    fn one_event_after_the_other() {
        let mut session = Session::default();
        assert_eq!(session.init(), &Init::Pending);
        assert_eq!(session.next_event(), Ok(Next::Wait));
        assert_eq!(session.init(), &Init::Ready, "asking for the first event ends the initialisation");
        for id in ["a", "b"] {
            let mut outcome = session.submit(invocation(id));
            assert_eq!(session.next_event(), Ok(Next::Event(invocation(id))));
            assert!(outcome.try_recv().is_err());
            session.finish(id, Outcome::Response(Bytes::from_static(b"ok"))).unwrap();
            assert_eq!(outcome.try_recv().unwrap(), Outcome::Response(Bytes::from_static(b"ok")));
        }
    }

    #[test]
    fn calls_out_of_turn_are_refused() {
        let mut session = Session::default();
        let answer = Outcome::Error(Bytes::new());
        assert_eq!(session.finish("a", answer.clone()), Err(Refused::InvalidStateTransition), "before the first event");
        assert_eq!(session.next_event(), Ok(Next::Wait));
        assert_eq!(session.init_error("late".to_owned()), Err(Refused::InvalidStateTransition));
        let mut outcome = session.submit(invocation("a"));
        assert!(matches!(session.next_event(), Ok(Next::Event(_))));
        assert_eq!(session.next_event(), Err(Refused::InvalidStateTransition), "before the answer");
        assert_eq!(session.finish("b", answer.clone()), Err(Refused::InvalidRequestId));
        assert!(outcome.try_recv().is_err(), "a wrong id answers nothing");
        session.finish("a", answer.clone()).unwrap();
        assert_eq!(session.finish("a", answer), Err(Refused::InvalidStateTransition), "twice");
    }

    #[test]
    fn the_end_of_the_process_ends_whatever_is_under_way() {
        let mut session = Session::default();
        session.end("exit status: 1".to_owned());
        assert_eq!(session.init(), &Init::Failed("exit status: 1".to_owned()));
        assert!(!session.is_alive());
        assert_eq!(session.next_event(), Err(Refused::InvalidStateTransition));
        assert_eq!(session.submit(invocation("a")).try_recv().unwrap(), Outcome::Ended("exit status: 1".to_owned()));

        for asked in [false, true] {
            let mut session = Session::default();
            session.next_event().unwrap();
            let mut outcome = session.submit(invocation("a"));
            if asked {
                session.next_event().unwrap();
            }
            session.end("signal: 9".to_owned());
            assert_eq!(outcome.try_recv().unwrap(), Outcome::Ended("signal: 9".to_owned()));
            assert_eq!(session.init(), &Init::Ready);
        }
    }

    #[test]
    fn an_init_error_is_kept_before_the_exit_that_follows() {
        let mut session = Session::default();
        session.init_error("MAPPING: expected …".to_owned()).unwrap();
        session.end("exit status: 1".to_owned());
        assert_eq!(session.init(), &Init::Failed("MAPPING: expected …".to_owned()));
    }

    #[test]
    fn a_second_event_does_not_disturb_the_first() {
        let mut session = Session::default();
        session.next_event().unwrap();
        let mut first = session.submit(invocation("a"));
        assert!(matches!(session.submit(invocation("b")).try_recv(), Ok(Outcome::Ended(_))));
        assert_eq!(session.next_event(), Ok(Next::Event(invocation("a"))));
        assert!(matches!(session.submit(invocation("b")).try_recv(), Ok(Outcome::Ended(_))));
        assert!(first.try_recv().is_err());
    }
}
