//! Finite automata of subjects, and the search for a word that two of them share.

use std::collections::{BTreeMap, HashSet};

use super::language::{Language, Middle, readable};
use crate::charset::CharSet;
use crate::mapping::template::Case;

/// Pairs of states that one search may visit: about 30 MB.
const MAX_STEPS: usize = 500_000;

/// What one proof may still spend, so that a hostile document costs neither minutes nor the memory of a small function.
pub(super) struct Budget {
    /// Moves that searches may look at: about a second on a small machine, ten times what 256 ordinary rules need.
    moves: usize,
    /// States of all automata together: about 40 MB. A list of 256 accounts needs 3,000.
    states: usize,
}

impl Budget {
    pub(super) const fn new() -> Self {
        Self { moves: 5_000_000, states: 500_000 }
    }

    fn take(left: &mut usize) -> Result<(), TooLarge> {
        *left = left.checked_sub(1).ok_or(TooLarge)?;
        Ok(())
    }
}

/// A piece of a subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    Literal(String),
    Variable { language: Language, case: Case },
}

/// Too many states or steps to finish the proof.
#[derive(Debug)]
pub(super) struct TooLarge;

/// A position automaton (Glushkov): each state is one character of the subject, so there are no empty moves, and a run
/// says for every character which piece it belongs to. State 0 is the start.
pub(super) struct Automaton {
    states: Vec<State>,
}

struct State {
    /// Characters of the value that lead here, before the filter.
    raw: CharSet,
    case: Case,
    piece: usize,
    next: Vec<u32>,
    last: bool,
}

impl Automaton {
    pub(super) fn build(pieces: &[Piece], budget: &mut Budget) -> Result<Self, TooLarge> {
        let start = State { raw: CharSet::EMPTY, case: Case::Keep, piece: 0, next: Vec::new(), last: false };
        let mut automaton = Self { states: vec![start] };
        let mut ends = vec![0];
        for (piece, part) in pieces.iter().enumerate() {
            let language = match part {
                Piece::Literal(text) => &Language::Words([text.clone()].into()),
                Piece::Variable { language, .. } => language,
            };
            let case = if let Piece::Variable { case, .. } = part { *case } else { Case::Keep };
            ends = automaton.append(&ends, language, &mut At { piece, case, budget })?;
        }
        for end in ends {
            automaton.state_mut(end).last = true;
        }
        Ok(automaton)
    }

    fn append(&mut self, from: &[u32], language: &Language, at: &mut At<'_>) -> Result<Vec<u32>, TooLarge> {
        match language {
            Language::Words(words) => {
                // A trie, so that long lists stay small. Keys are prefixes; the empty one stands for `from`.
                let mut known: BTreeMap<&str, u32> = BTreeMap::new();
                let mut ends = Vec::with_capacity(words.len());
                for word in words {
                    let mut before: Vec<u32> = from.to_vec();
                    for (i, byte) in word.bytes().enumerate() {
                        let prefix = word.get(..=i).unwrap_or(word);
                        let state = match known.get(prefix) {
                            Some(state) => *state,
                            None => self.push(&before, CharSet::single(byte), at)?,
                        };
                        known.insert(prefix, state);
                        before = vec![state];
                    }
                    ends.extend(before);
                }
                Ok(ends)
            }
            Language::Run { prefix, middle, suffix } => {
                let start = self.text(from.to_vec(), prefix, at)?;
                let mut ends = self.middle(&start, *middle, at)?;
                if middle.min == 0 {
                    ends.extend(start);
                }
                self.text(ends, suffix, at)
            }
            Language::Path => {
                let slash = CharSet::single(b'/');
                let open = self.push(from, slash, at)?;
                let inner = self.push(&[open], CharSet::GRAPHIC, at)?;
                self.state_mut(inner).next.push(inner);
                let close = self.push(&[inner], slash, at)?;
                Ok(vec![open, close])
            }
        }
    }

    /// One or more characters (or `min`, if that is more).
    fn middle(&mut self, from: &[u32], middle: Middle, at: &mut At<'_>) -> Result<Vec<u32>, TooLarge> {
        let mut ends = Vec::new();
        if middle.min < 2 {
            ends.push(self.push(from, middle.first.meet(middle.last), at)?);
        }
        let mut inner = self.push(from, middle.first, at)?;
        for _ in 2..middle.min {
            inner = self.push(&[inner], middle.class, at)?;
        }
        let repeat = self.push(&[inner], middle.class, at)?;
        self.state_mut(repeat).next.push(repeat);
        ends.push(self.push(&[inner, repeat], middle.last, at)?);
        Ok(ends)
    }

    fn text(&mut self, mut ends: Vec<u32>, text: &str, at: &mut At<'_>) -> Result<Vec<u32>, TooLarge> {
        for byte in text.bytes() {
            ends = vec![self.push(&ends, CharSet::single(byte), at)?];
        }
        Ok(ends)
    }

    fn push(&mut self, from: &[u32], raw: CharSet, at: &mut At<'_>) -> Result<u32, TooLarge> {
        Budget::take(&mut at.budget.states)?;
        let new = u32::try_from(self.states.len()).map_err(|_| TooLarge)?;
        self.states.push(State { raw, case: at.case, piece: at.piece, next: Vec::new(), last: false });
        for state in from {
            self.state_mut(*state).next.push(new);
        }
        Ok(new)
    }

    #[expect(clippy::indexing_slicing, reason = "state numbers are only made by push, which appends the state")]
    fn state(&self, number: u32) -> &State {
        &self.states[number as usize]
    }

    #[expect(clippy::indexing_slicing, reason = "state numbers are only made by push, which appends the state")]
    fn state_mut(&mut self, number: u32) -> &mut State {
        &mut self.states[number as usize]
    }
}

/// Where appended states belong.
struct At<'b> {
    piece: usize,
    case: Case,
    budget: &'b mut Budget,
}

/// How a pair of subjects is compared.
#[derive(Clone, Copy, Debug)]
pub(super) struct Comparison<'p> {
    /// `Some`: both sides have the same pieces, and a shared word is harmless while every character belongs to the same
    /// piece on both sides and no case-sensitive field differs in case. The list says which pieces are such fields.
    /// `None`: any shared word is a collision.
    pub(super) aligned: Option<&'p [bool]>,
    /// Letters are compared without case.
    pub(super) fold: bool,
}

/// A shared word: for both sides, per piece, the value that it stands for (before the filter).
#[derive(Debug)]
pub(super) struct SharedWord {
    pub(super) values: [Vec<String>; 2],
}

impl SharedWord {
    /// Whether the two sides read the word alike but for the case of letters.
    pub(super) fn differs_in_case(&self) -> bool {
        let [left, right] = &self.values;
        left != right && left.len() == right.len() && left.iter().zip(right).all(|(a, b)| a.eq_ignore_ascii_case(b))
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Node {
    left: u32,
    right: u32,
    /// A collision if the word ends here.
    apart: bool,
}

/// One step of the search: a node, whether the characters that led to it differ in case, and the step before.
struct Step {
    node: Node,
    differ: bool,
    before: usize,
}

/// Breadth-first search over the product: the first collision found is the shortest shared word.
pub(super) fn shared_word(
    left: &Automaton,
    right: &Automaton,
    comparison: Comparison<'_>,
    budget: &mut Budget,
) -> Result<Option<SharedWord>, TooLarge> {
    let start = Node { left: 0, right: 0, apart: comparison.aligned.is_none() };
    let mut steps = vec![Step { node: start, differ: false, before: 0 }];
    let mut seen = HashSet::from([start]);
    let mut at = 0;
    while let Some(Step { node, .. }) = steps.get(at) {
        let node = *node;
        if node.apart && left.state(node.left).last && right.state(node.right).last {
            return Ok(Some(word(left, right, &steps, at, comparison.fold)));
        }
        for next_left in &left.state(node.left).next {
            for next_right in &right.state(node.right).next {
                Budget::take(&mut budget.moves)?;
                let ways = moves(left.state(*next_left), right.state(*next_right), node.apart, comparison);
                for (apart, differ) in ways.into_iter().flatten() {
                    let node = Node { left: *next_left, right: *next_right, apart };
                    if seen.insert(node) {
                        steps.push(Step { node, differ, before: at });
                    }
                }
            }
        }
        if steps.len() > MAX_STEPS {
            return Err(TooLarge);
        }
        at += 1;
    }
    Ok(None)
}

/// The ways to take one more character on both sides: whether the sides are apart afterwards, and whether the characters
/// differ in case.
fn moves(left: &State, right: &State, apart: bool, comparison: Comparison<'_>) -> [Option<(bool, bool)>; 2] {
    let (equal, differing) = alike(left, right, comparison.fold);
    let (equal, differing) = (!equal.is_empty(), !differing.is_empty());
    if !equal && !differing {
        return [None, None];
    }
    match comparison.aligned {
        Some(sensitive) if !apart && left.piece == right.piece => {
            if sensitive.get(left.piece) == Some(&true) {
                [equal.then_some((false, false)), differing.then_some((true, true))]
            } else {
                [Some((false, !equal)), None]
            }
        }
        // Apart already, or from here on.
        _ => [Some((true, !equal)), None],
    }
}

/// Characters that both sides have and see alike, and characters of the left whose other case the right has and sees
/// as the left sees them.
fn alike(left: &State, right: &State, fold: bool) -> (CharSet, CharSet) {
    let (upper, lower) = (CharSet::UPPER, CharSet::LOWER);
    let letters = upper.union(lower);
    let all = CharSet::PRINTABLE;
    let (same, other) = match (left.case, right.case) {
        _ if fold => (all, letters),
        (Case::Upper, Case::Upper) | (Case::Lower, Case::Lower) => (all, letters),
        (Case::Keep, Case::Keep) => (all, CharSet::EMPTY),
        (Case::Keep, Case::Upper) => (all.minus(lower), upper),
        (Case::Upper, Case::Keep) => (all.minus(lower), lower),
        (Case::Keep, Case::Lower) => (all.minus(upper), lower),
        (Case::Lower, Case::Keep) => (all.minus(upper), upper),
        (Case::Upper, Case::Lower) | (Case::Lower, Case::Upper) => (all.minus(letters), CharSet::EMPTY),
    };
    let equal = left.raw.meet(right.raw).meet(same);
    let differing = left.raw.meet(other).meet(right.raw.other_case());
    (equal, differing)
}

/// The characters of one step, those that read best.
fn characters(left: &State, right: &State, differ: bool, fold: bool) -> (char, char) {
    let (equal, differing) = alike(left, right, fold);
    let first = |set| readable(set).next().unwrap_or('?');
    if differ {
        let c = first(differing);
        (c, if c.is_ascii_lowercase() { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() })
    } else {
        (first(equal), first(equal))
    }
}

fn word(left: &Automaton, right: &Automaton, steps: &[Step], end: usize, fold: bool) -> SharedWord {
    let mut path = Vec::new();
    let mut at = end;
    while at > 0 {
        let Some(step) = steps.get(at) else { break };
        path.push(step);
        at = step.before;
    }
    let mut values = [Vec::new(), Vec::new()];
    for step in path.into_iter().rev() {
        let (one, other) = (left.state(step.node.left), right.state(step.node.right));
        let characters = characters(one, other, step.differ, fold);
        let places = [(one.piece, characters.0), (other.piece, characters.1)];
        for (side, (piece, character)) in values.iter_mut().zip(places) {
            if side.len() <= piece {
                side.resize(piece + 1, String::new());
            }
            if let Some(value) = side.get_mut(piece) {
                value.push(character);
            }
        }
    }
    SharedWord { values }
}
