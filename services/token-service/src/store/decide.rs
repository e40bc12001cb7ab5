//! What happens to a family, as pure functions of its state: the memory store calls them, the Lua scripts of the Redis store say
//! the same (held by a differential test), and the exhaustive search in `model.rs` walks through them.

use super::family::{
    CLOCK_SKEW_S, Child, Dead, FamilyKind, REANSWER_LIMIT, REANSWER_WINDOW_S, RenewOutcome, moment, seconds,
};
use super::ids::{Standing, TokenId, UserKey};

/// A user's record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct UserState {
    pub(crate) standing: Standing,
    /// Until when it is kept, in milliseconds.
    pub(crate) kept: i64,
}

/// What changes of a family, and what the decisions need of what does not. Times are milliseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FamilyState {
    pub(crate) user: UserKey,
    pub(crate) standing: Standing,
    pub(crate) kind: FamilyKind,
    pub(crate) binding: [u8; 32],
    pub(crate) expires: i64,
    pub(crate) kept: i64,
    pub(crate) revoked: bool,
    /// SHA-256 of the live refresh token; `None` for parents.
    pub(crate) current: Option<[u8; 32]>,
    pub(crate) former: Option<Former>,
    pub(crate) latest: Option<StoredChild>,
}

/// The last rotation: the token that it replaced, and the answer to it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Former {
    pub(crate) hash: [u8; 32],
    pub(crate) scope: [u8; 32],
    /// The access token of the answer.
    pub(crate) access: TokenId,
    pub(crate) at: i64,
    pub(crate) answers: u8,
    /// Whether the successor, or the access token beside it, has been seen: the answer did arrive.
    pub(crate) seen: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct StoredChild {
    pub(crate) id: TokenId,
    pub(crate) issued: i64,
    pub(crate) expires: i64,
    pub(crate) seq: u64,
}

impl StoredChild {
    pub(crate) fn child(&self) -> Child {
        Child { id: self.id, issued: moment(self.issued), expires: moment(self.expires), seq: self.seq }
    }
}

/// A presented refresh token, as the decision sees it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked {
    pub(crate) hash: [u8; 32],
    pub(crate) binding: [u8; 32],
    pub(crate) scope: [u8; 32],
    pub(crate) may_reanswer: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    Current,
    Rotated,
    /// This very commit has been made before: its answer was lost.
    Repeated,
    ReAnswer,
    Theft,
    Dead(Dead),
}

/// How a user's record stands to what was issued under `standing`. `None`: as it should.
pub(crate) fn user_over(user: Option<&UserState>, standing: Standing, now: i64) -> Option<Dead> {
    match user {
        Some(user) if user.kept > now && user.standing.epoch == standing.epoch => {
            match user.standing.generation.cmp(&standing.generation) {
                std::cmp::Ordering::Equal => None,
                std::cmp::Ordering::Greater => Some(Dead::UserRevoked),
                // Fewer revocations than the token has seen: this store has lost some, and cannot know which tokens live.
                std::cmp::Ordering::Less => Some(Dead::Unknown),
            }
        }
        _ => Some(Dead::Unknown),
    }
}

impl FamilyState {
    /// Why the family mints no more; `None` while it lives.
    pub(crate) fn over(&self, user: Option<&UserState>, now: i64) -> Option<Dead> {
        if self.kept <= now {
            return Some(Dead::Unknown);
        }
        if self.revoked {
            return Some(Dead::Revoked);
        }
        user_over(user, self.standing, now).or_else(|| (self.expires <= now).then_some(Dead::Expired))
    }

    /// THE decision of a refresh, carried out on this state. `proposed` is the hash of the next token and the id of the access
    /// token beside it.
    pub(crate) fn refresh(
        &mut self,
        user: Option<&UserState>,
        asked: &Asked,
        proposed: Option<(&[u8; 32], TokenId)>,
        now: i64,
    ) -> Decision {
        if let Some(dead) = self.over(user, now) {
            return Decision::Dead(dead);
        }
        let Some(current) = self.current else { return Decision::Dead(Dead::Unknown) };
        let decision = self.judge(&current, asked, proposed, now);
        match decision {
            Decision::Current => {
                // Who presents the successor has received it.
                if let Some(former) = &mut self.former {
                    former.seen = true;
                }
            }
            Decision::Rotated => {
                if let Some((next, access)) = proposed {
                    self.current = Some(*next);
                    self.former =
                        Some(Former { hash: current, scope: asked.scope, access, at: now, answers: 0, seen: false });
                }
            }
            Decision::ReAnswer => {
                if let Some(former) = &mut self.former {
                    former.answers = former.answers.saturating_add(1);
                }
            }
            Decision::Theft => self.revoke(),
            Decision::Repeated | Decision::Dead(_) => {}
        }
        decision
    }

    fn judge(&self, current: &[u8; 32], asked: &Asked, proposed: Option<(&[u8; 32], TokenId)>, now: i64) -> Decision {
        if asked.binding != self.binding {
            return Decision::Theft;
        }
        if asked.hash == *current {
            return if proposed.is_some() { Decision::Rotated } else { Decision::Current };
        }
        let Some(former) = self.former.as_ref().filter(|former| former.hash == asked.hash) else {
            return Decision::Theft;
        };
        // Nobody else can have the proposal that was committed.
        if proposed.is_some_and(|(next, access)| next == current && access == former.access) {
            return Decision::Repeated;
        }
        let age = now - former.at;
        let in_window = (-seconds(CLOCK_SKEW_S)..seconds(REANSWER_WINDOW_S)).contains(&age);
        let again = asked.may_reanswer
            && in_window
            && asked.scope == former.scope
            && former.answers < REANSWER_LIMIT
            && !former.seen;
        if again { Decision::ReAnswer } else { Decision::Theft }
    }

    /// A token of this family has been seen in use: whether it is the one that was answered last.
    pub(crate) fn witness(&mut self, jti: &TokenId) -> bool {
        let answered = self.former.as_mut().filter(|former| former.access == *jti);
        answered.map(|former| former.seen = true).is_some()
    }

    /// The family mints no more. The hashes go, so that nothing could be compared with them any more.
    pub(crate) fn revoke(&mut self) {
        self.revoked = true;
        self.current = None;
        self.former = None;
        self.latest = None;
    }

    /// Renews the child when it is due.
    pub(crate) fn renew(
        &mut self,
        user: Option<&UserState>,
        next: &StoredChild,
        threshold: i64,
        now: i64,
    ) -> RenewOutcome {
        if let Some(dead) = self.over(user, now) {
            return RenewOutcome::Dead(dead);
        }
        if self.kind != FamilyKind::Parent {
            return RenewOutcome::Dead(Dead::Unknown);
        }
        let expires = next.expires.min(self.expires);
        if let Some(latest) = &self.latest {
            if latest.id == next.id {
                return RenewOutcome::Renewed(latest.child());
            }
            // One that ends no later is no renewal: the last child of a family, or the proposal of a slow clock.
            if latest.expires.saturating_sub(now) > threshold || expires <= latest.expires {
                return RenewOutcome::NotDue(latest.child());
            }
        }
        let seq = self.latest.map_or(0, |latest| latest.seq).saturating_add(1);
        let renewed = StoredChild { id: next.id, issued: next.issued, expires, seq };
        self.latest = Some(renewed);
        RenewOutcome::Renewed(renewed.child())
    }
}
