//! What values a field of a rule can have, as a language of simple words.

use std::collections::BTreeSet;

use crate::charset::CharSet;
use crate::mapping::document::Directory;
use crate::mapping::kind::{Field, Kind};
use crate::mapping::pattern::Pattern;
use crate::mapping::selector::{Selector, Test};
use crate::mapping::template::local;

/// A set of words that contains every value that the field can have (never fewer: the proof may only err towards
/// refusing). Every word has at least one character.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Language {
    /// Exactly these.
    Words(BTreeSet<String>),
    /// `prefix`, a [`Middle`], `suffix`.
    Run { prefix: String, middle: Middle, suffix: String },
    /// `/`, or `/…/`: the path of an IAM user.
    Path,
}

/// At least `min` characters of `class`, the first of them also of `first`, the last also of `last`. The longest length is
/// left out: no proof needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Middle {
    pub(super) first: CharSet,
    pub(super) class: CharSet,
    pub(super) last: CharSet,
    pub(super) min: usize,
}

impl Middle {
    const fn plain(class: CharSet, min: usize) -> Self {
        Self { first: class, class, last: class, min }
    }
}

impl Language {
    fn word(word: impl Into<String>) -> Self {
        Self::Words(BTreeSet::from([word.into()]))
    }

    fn words<'w>(words: impl IntoIterator<Item = &'w String>) -> Self {
        Self::Words(words.into_iter().cloned().collect())
    }

    /// The only word, when there is only one.
    pub(super) fn single(&self) -> Option<&str> {
        match self {
            Self::Words(words) if words.len() == 1 => words.first().map(String::as_str),
            _ => None,
        }
    }

    /// Up to two words of the language, for messages.
    pub(super) fn samples(&self) -> [String; 2] {
        match self {
            Self::Words(words) => {
                let first = words.first().cloned().unwrap_or_default();
                let second = words.iter().nth(1).cloned().unwrap_or_else(|| first.clone());
                [first, second]
            }
            Self::Run { prefix, middle, suffix } => {
                let mut letters = readable(middle.first.meet(middle.last));
                let first = letters.next().unwrap_or('x');
                let second = letters.next().unwrap_or(first);
                let fill = |letter: char| letter.to_string().repeat(middle.min.max(1));
                [first, second].map(|letter| format!("{prefix}{}{suffix}", fill(letter)))
            }
            Self::Path => ["/".to_owned(), "/a/".to_owned()],
        }
    }
}

/// The characters of a class, those that read best first.
pub(super) fn readable(class: CharSet) -> impl Iterator<Item = char> {
    let rank = |byte: u8| match byte {
        b'a'..=b'z' => 0,
        b'A'..=b'Z' => 1,
        b'0'..=b'9' => 2,
        _ => 3,
    };
    let mut bytes: Vec<u8> = class.iter().collect();
    bytes.sort_by_key(|byte| rank(*byte));
    bytes.into_iter().map(char::from)
}

/// Every value that a field can have in a principal that the selector admits. For a user with an e-mail domain and
/// `local_part`, the part before the `@`.
pub(super) fn values(selector: &Selector, field: Field, local_part: bool, directories: &[Directory]) -> Language {
    let kind = selector.kind;
    if field == Field::Directory {
        let accounts = values(selector, Field::Account, false, directories);
        let Language::Words(accounts) = accounts else { return accounts };
        return Language::Words(accounts.iter().map(|account| directory_of(account, directories)).collect());
    }
    match (selector.test(field), &selector.email_domain) {
        (Some(Test::OneOf(list)), _) => Language::words(list),
        (test, Some(domain)) if field == Field::User => {
            let pattern = if let Some(Test::Like(pattern)) = test { Some(pattern) } else { None };
            address(kind, pattern, domain, local_part)
        }
        (Some(Test::Like(Pattern::Exact(exact))), _) => Language::word(exact),
        (Some(Test::Like(Pattern::Glob { prefix, suffix, star })), _) => {
            let (_, min, _) = kind.alphabet(field);
            let mut middle = Middle::plain(*star, min.saturating_sub(prefix.len() + suffix.len()).max(1));
            let edge = edge(kind, field);
            if prefix.is_empty() {
                middle.first = star.meet(edge);
            }
            if suffix.is_empty() {
                middle.last = star.meet(edge);
            }
            Language::Run { prefix: prefix.clone(), middle, suffix: suffix.clone() }
        }
        (None, _) if field == Field::Path => Language::Path,
        (None, _) => {
            let (class, min, _) = kind.alphabet(field);
            let edge = class.meet(edge(kind, field));
            let middle = Middle { first: edge, class, last: edge, min };
            Language::Run { prefix: String::new(), middle, suffix: String::new() }
        }
    }
}

/// What a value of the field can begin and end with: Kubernetes names never with a hyphen or a dot.
const fn edge(kind: Kind, field: Field) -> CharSet {
    match (kind, field) {
        (Kind::Kubernetes, Field::Namespace | Field::Name) => CharSet::ALPHANUMERIC,
        _ => CharSet::PRINTABLE,
    }
}

/// The Identity Center behind an account. An account that no directory lists stands for itself: two such accounts may
/// well have different people of the same name.
pub(super) fn directory_of(account: &str, directories: &[Directory]) -> String {
    directories
        .iter()
        .find(|directory| directory.accounts.iter().any(|one| one.value == account))
        .map_or_else(|| format!("account {account}"), |directory| format!("directory {}", directory.name))
}

/// Whether every user of the rule belongs to a directory that ignores case.
pub(super) fn directories_ignore_case(selector: &Selector, directories: &[Directory]) -> bool {
    let Some(Test::OneOf(accounts)) = selector.test(Field::Account) else { return false };
    accounts.iter().all(|account| {
        directories
            .iter()
            .any(|directory| directory.ignores_case && directory.accounts.iter().any(|one| one.value == *account))
    })
}

/// Users `local@domain` with exactly one `@`, whole or their local parts.
fn address(kind: Kind, pattern: Option<&Pattern>, domain: &str, local_part: bool) -> Language {
    let class = kind.alphabet(Field::User).0.minus(CharSet::single(b'@'));
    let run = |prefix: &str, min: usize, suffix: &str| (prefix.to_owned(), min, suffix.to_owned());
    let (prefix, min, suffix) = match pattern {
        None => run("", 1, ""),
        Some(Pattern::Exact(exact)) => {
            let word = if local_part { local(exact).unwrap_or(exact) } else { exact };
            return Language::word(word);
        }
        Some(Pattern::Glob { prefix, suffix, .. }) => match (prefix.split_once('@'), suffix.split_once('@')) {
            // The star lies in the domain, which is fixed: the local part is too.
            (Some((local, _)), _) => {
                return Language::word(if local_part { local.to_owned() } else { format!("{local}@{domain}") });
            }
            (None, Some((end, _))) => run(prefix, 1, end),
            // The star covers the "@" and may leave nothing of the local part behind the prefix.
            (None, None) => run(prefix, usize::from(prefix.is_empty()), ""),
        },
    };
    let suffix = if local_part { suffix } else { format!("{suffix}@{domain}") };
    Language::Run { prefix, middle: Middle::plain(class, min), suffix }
}
