//! The proof that two different identities cannot get the same subject.
//!
//! A subject is a sequence of pieces; a piece is a literal or the values that a field can have in a principal that the
//! rule admits ([`language`]). Every pair of rules, and every rule with itself, is searched for a word that both can
//! produce ([`automaton`]), letters folded where a relying party ignores case. A shared word is harmless only between
//! *aligned* rules: same kind, same pieces, every identity field either decoded from the same piece or pinned to the
//! same value. Then the search looks for a word that is taken apart in two ways (no unique decoding), or whose two
//! readings differ in case where the authority does not ignore it (a filter that is not injective).
//!
//! The languages are at least as large as the truth, and order of rules, audiences and unique ids are not counted on: the
//! proof errs only towards refusing.

mod automaton;
mod language;
mod witness;

use std::cell::OnceCell;
use std::collections::BTreeMap;

use self::automaton::{Automaton, Budget, Comparison, Piece, SharedWord, TooLarge, shared_word};
use self::language::{Language, directories_ignore_case, values};
use super::compile::Rule;
use super::document::Directory;
use super::kind::{Field, Kind};
use super::problems::Problems;
use super::template::Part;
use crate::text::Quoted;

/// Collisions reported before the proof stops.
const MOST: usize = 16;

/// Reports every pair of rules whose subjects can collide.
pub(super) fn prove(rules: &[Rule], directories: &[Directory], problems: &mut Problems) {
    let shapes: Vec<Shape<'_>> = rules.iter().map(|rule| Shape::new(rule, directories)).collect();
    let mut budget = Budget::new();
    let mut found = 0;
    for (n, right) in shapes.iter().enumerate() {
        for left in shapes.iter().take(n + 1) {
            let grouped = left.rule.shared_subject.is_some() && left.rule.shared_subject == right.rule.shared_subject;
            if grouped {
                continue;
            }
            match collision(left, right, &mut budget) {
                Ok(None) => {}
                Ok(Some(collision)) => {
                    let (message, hint) = witness::describe(left, right, &collision, directories);
                    problems.push(right.rule.line, message, hint);
                    found += 1;
                }
                Err(TooLarge) => {
                    let message = format!(
                        "expected subjects that can be compared within a bounded search, found too many combinations at rule {}",
                        Quoted(&right.rule.name)
                    );
                    let hint =
                        "shorten the lists, or begin the subject with a literal that tells the rule from the others";
                    problems.push(right.rule.line, message, hint);
                    return;
                }
            }
            if found >= MOST {
                return;
            }
        }
    }
}

/// A rule as the proof sees it.
struct Shape<'r> {
    rule: &'r Rule,
    /// Some audience of the rule ignores case.
    folds: bool,
    /// Whether the rule's users belong to directories that ignore case.
    directories_ignore_case: bool,
    /// Values of every identity field and of everything a message may show.
    values: BTreeMap<Field, Language>,
    /// The template with pinned variables turned into literals, when there are any.
    pinned: Option<Form>,
    /// The template as written.
    written: Form,
}

/// One way to write a rule's subject as pieces.
struct Form {
    pieces: Vec<Piece>,
    /// What each piece is, for alignment.
    tokens: Vec<Token>,
    automaton: OnceCell<Result<Automaton, TooLarge>>,
}

/// Equal tokens at the same place decode to the same field.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Literal(String),
    /// `local_part` carries the domain that was cut off: only with the same one is it injective.
    Variable {
        field: Field,
        domain: Option<String>,
    },
}

/// Which of a shape's two forms.
#[derive(Clone, Copy)]
enum Style {
    Pinned,
    Written,
}

/// A shared word, and in which form it was found.
struct Collision {
    word: SharedWord,
    style: Style,
}

impl<'r> Shape<'r> {
    fn new(rule: &'r Rule, directories: &[Directory]) -> Self {
        let selector = &rule.selector;
        let kind = selector.kind;
        let written: Vec<(Piece, Token)> =
            rule.subject.parts().iter().map(|part| written(rule, part, directories)).collect();
        let shown: &[Field] = match kind {
            Kind::SsoUser => &[Field::Account, Field::PermissionSet],
            Kind::IamUser => &[Field::Path],
            _ => &[],
        };
        let fields = kind.identity().iter().chain(shown).copied();
        let values = fields.map(|field| (field, values(selector, field, false, directories))).collect();
        Self {
            rule,
            folds: rule.audiences.iter().any(|(audience, profile)| profile.ignores_case(audience)),
            directories_ignore_case: directories_ignore_case(selector, directories),
            values,
            pinned: Some(pinned(&written)).filter(|pinned| *pinned != written).map(Form::new),
            written: Form::new(written),
        }
    }

    fn form(&self, style: Style) -> &Form {
        match (style, &self.pinned) {
            (Style::Pinned, Some(pinned)) => pinned,
            _ => &self.written,
        }
    }

    /// Whether the authority treats values of this field that differ only in case as one.
    fn ignores_case(&self, field: Field) -> bool {
        let kind = self.rule.selector.kind;
        kind.ignores_case(field) || (field == Field::User && kind == Kind::SsoUser && self.directories_ignore_case)
    }

    fn same(&self, other: &Self, field: Field, left: &str, right: &str) -> bool {
        if self.ignores_case(field) && other.ignores_case(field) {
            left.eq_ignore_ascii_case(right)
        } else {
            left == right
        }
    }

    /// Identity fields that the form does not show.
    fn hidden<'s>(&'s self, form: &'s Form) -> impl Iterator<Item = Field> + 's {
        let shows = |field| {
            form.tokens.iter().any(|token| matches!(token, Token::Variable { field: shown, .. } if *shown == field))
        };
        // An account has one Identity Center, so whoever shows the account shows the directory.
        self.rule
            .selector
            .kind
            .identity()
            .iter()
            .copied()
            .filter(move |field| !shows(*field) && (*field != Field::Directory || !shows(Field::Account)))
    }
}

impl Form {
    fn new(parts: Vec<(Piece, Token)>) -> Self {
        let (pieces, tokens) = parts.into_iter().unzip();
        Self { pieces, tokens, automaton: OnceCell::new() }
    }

    fn automaton(&self, budget: &mut Budget) -> Result<&Automaton, TooLarge> {
        self.automaton.get_or_init(|| Automaton::build(&self.pieces, budget)).as_ref().map_err(|_| TooLarge)
    }
}

fn written(rule: &Rule, part: &Part, directories: &[Directory]) -> (Piece, Token) {
    match part {
        Part::Literal(text) => (Piece::Literal(text.clone()), Token::Literal(text.clone())),
        Part::Variable { field, case, local_part } => {
            let language = values(&rule.selector, *field, *local_part, directories);
            let domain = if *local_part { rule.selector.email_domain.clone() } else { None };
            (Piece::Variable { language, case: *case }, Token::Variable { field: *field, domain })
        }
    }
}

/// Pinned variables become literals, and neighbouring literals one.
fn pinned(written: &[(Piece, Token)]) -> Vec<(Piece, Token)> {
    let mut parts: Vec<(Piece, Token)> = Vec::new();
    for (piece, token) in written {
        let text = match piece {
            Piece::Literal(text) => Some(text.clone()),
            Piece::Variable { language, case } => language.single().map(|word| case.apply_to(word)),
        };
        match (text, parts.last_mut()) {
            (Some(text), Some((Piece::Literal(before), Token::Literal(same)))) => {
                before.push_str(&text);
                same.push_str(&text);
            }
            (Some(text), _) => parts.push((Piece::Literal(text.clone()), Token::Literal(text))),
            (None, _) => parts.push((piece.clone(), token.clone())),
        }
    }
    parts
}

/// A word that two different identities could both get, if there is one.
fn collision(left: &Shape<'_>, right: &Shape<'_>, budget: &mut Budget) -> Result<Option<Collision>, TooLarge> {
    let fold = left.folds || right.folds;
    let mut search = |style, aligned: Option<&[bool]>| {
        let (a, b) = (left.form(style).automaton(budget)?, right.form(style).automaton(budget)?);
        let word = shared_word(a, b, Comparison { aligned, fold }, budget)?;
        Ok(word.map(|word| Collision { word, style }))
    };
    let mut found = None;
    for style in [Style::Pinned, Style::Written] {
        let Some(sensitive) = aligned(left, left.form(style), right, right.form(style), fold) else { continue };
        match search(style, Some(&sensitive))? {
            None => return Ok(None),
            collision => found = found.or(collision),
        }
    }
    if found.is_some() { Ok(found) } else { search(Style::Written, None) }
}

/// Whether equal pieces of the two forms mean equal identities; then, per piece, whether it is an identity field whose
/// authority tells case apart.
fn aligned(left: &Shape<'_>, a: &Form, right: &Shape<'_>, b: &Form, fold: bool) -> Option<Vec<bool>> {
    let kind = left.rule.selector.kind;
    let same_token = |(one, other): (&Token, &Token)| match (one, other) {
        (Token::Literal(one), Token::Literal(other)) if fold => one.eq_ignore_ascii_case(other),
        _ => one == other,
    };
    if kind != right.rule.selector.kind
        || a.tokens.len() != b.tokens.len()
        || !a.tokens.iter().zip(&b.tokens).all(same_token)
    {
        return None;
    }
    let pinned_alike = |field| {
        let [one, other] = [left, right].map(|shape| shape.values.get(&field).and_then(Language::single));
        one.zip(other).is_some_and(|(one, other)| left.same(right, field, one, other))
    };
    if !left.hidden(a).all(pinned_alike) {
        return None;
    }
    let sensitive = |token: &Token| match token {
        Token::Literal(_) => false,
        Token::Variable { field, .. } => {
            kind.identity().contains(field) && !(left.ignores_case(*field) && right.ignores_case(*field))
        }
    };
    Some(a.tokens.iter().map(sensitive).collect())
}
