//! Naming the two principals that would share a subject.

use std::collections::BTreeMap;

use super::language::{Language, directory_of};
use super::{Collision, Form, Piece, Shape, Token};
use crate::mapping::document::Directory;
use crate::mapping::kind::{Field, Kind};
use crate::text::Quoted;

/// Characters of a principal's name in a message: patterns may be hundreds long.
const MAX_NAME: usize = 256;

type Values = BTreeMap<Field, String>;

/// Message and hint for a collision.
pub(super) fn describe(
    left: &Shape<'_>,
    right: &Shape<'_>,
    collision: &Collision,
    directories: &[Directory],
) -> (String, String) {
    let [left_form, right_form] = [left, right].map(|shape| shape.form(collision.style));
    let [left_word, right_word] = &collision.word.values;
    let one = complete(left, shown(left, left_form, left_word));
    let other = tell_apart(left, &one, right, &shown(right, right_form, right_word), directories);
    let (subject, other_subject) = (subject(left_form, left_word), subject(right_form, right_word));
    let [one_name, other_name] = [(left, &one), (right, &other)].map(|(shape, values)| name(shape, values));
    let subjects = if subject == other_subject {
        Quoted(&subject).to_string()
    } else {
        format!(
            "{} and {}, which a relying party that ignores case takes for one,",
            Quoted(&subject),
            Quoted(&other_subject)
        )
    };
    let (left_rule, right_rule) = (Quoted(&left.rule.name), Quoted(&right.rule.name));
    let line = left.rule.line;
    let message = if std::ptr::eq(left.rule, right.rule) {
        format!(
            "expected rule {left_rule} to give different callers different subjects, found {subjects} for both {one_name} \
             and {other_name}"
        )
    } else if differ(left, &one, right, &other, directories) {
        format!(
            "expected rules {left_rule} (line {line}) and {right_rule} to give different callers different subjects, \
             found {subjects} for {one_name} by the first and for {other_name} by the second"
        )
    } else {
        let hint = "write the same subject template in both rules, so that it is plain that one caller is meant";
        let message = format!(
            "expected rules {left_rule} (line {line}) and {right_rule} to give different callers different subjects, \
             found {subjects} by two templates for {one_name}"
        );
        return (message, hint.to_owned());
    };
    (message, hint(left, left_form, right, collision))
}

const GROUP: &str = "if they are meant to be one, say shared_subject = \"GROUP\" in each rule";

fn hint(left: &Shape<'_>, form: &Form, right: &Shape<'_>, collision: &Collision) -> String {
    if !std::ptr::eq(left.rule, right.rule) {
        return hint_for_two(left, right);
    }
    let unpinned = |field: &Field| left.values.get(field).is_none_or(|language| language.single().is_none());
    let loose: Vec<Field> = left.hidden(form).filter(unpinned).collect();
    if let Some(first) = loose.first() {
        let offered = left.rule.selector.kind.variables();
        let words: Vec<String> = loose
            .iter()
            .map(|field| if *field == Field::Directory { Field::Account } else { *field })
            .filter(|field| offered.contains(field))
            .map(|field| format!("{{{}}}", field.word()))
            .collect();
        return if words.is_empty() {
            format!("write one rule per {}; {GROUP}", first.word())
        } else {
            format!("add {} to the subject, or name one exact value in principal; {GROUP}", words.join(" and "))
        };
    }
    if collision.word.differs_in_case() {
        let hint = "the authority tells names apart by case, so leave out upper, lower and audiences that ignore case, \
                    or name one exact value";
        return match left.rule.selector.kind {
            Kind::SsoUser => {
                format!("{hint}; or say user_names = \"case-insensitive\" in the [directory] of these accounts")
            }
            _ => hint.to_owned(),
        };
    }
    "separate the variables by a character that the one before cannot contain, such as \"/\"".to_owned()
}

fn hint_for_two(left: &Shape<'_>, right: &Shape<'_>) -> String {
    let [one, other] = [left, right].map(|shape| shape.rule.selector.kind);
    let hint = format!(
        "begin each subject with a literal of its own, or use one template with every identity field in both rules; {GROUP}"
    );
    if one == Kind::SsoUser && other == Kind::SsoUser {
        return format!("{hint}; list the accounts of one Identity Center in one [directory]");
    }
    hint
}

/// The values that the shared word gives to the fields which the subject shows.
fn shown(shape: &Shape<'_>, form: &Form, word: &[String]) -> Values {
    let fields = form.tokens.iter().zip(word).filter_map(|(token, value)| match token {
        Token::Literal(_) => None,
        Token::Variable { field, domain: Some(domain) } => Some((*field, format!("{value}@{domain}"))),
        Token::Variable { field, domain: None } => Some((*field, value.clone())),
    });
    let known = shape.values.iter().filter_map(|(field, language)| Some((*field, language.single()?.to_owned())));
    known.chain(fields).collect()
}

fn complete(shape: &Shape<'_>, mut values: Values) -> Values {
    for (field, language) in &shape.values {
        let [sample, _] = language.samples();
        values.entry(*field).or_insert(sample);
    }
    values
}

/// Completes the second principal so that it is another identity than the first, when that is possible.
fn tell_apart(left: &Shape<'_>, one: &Values, right: &Shape<'_>, shown: &Values, directories: &[Directory]) -> Values {
    let plain = complete(right, shown.clone());
    let free = right.values.iter().filter(|(field, _)| !shown.contains_key(*field));
    for (field, language) in free {
        let candidates: Vec<String> = match language {
            Language::Words(words) => words.iter().cloned().collect(),
            Language::Run { .. } | Language::Path => language.samples().to_vec(),
        };
        for candidate in candidates {
            let mut values = plain.clone();
            values.insert(*field, candidate);
            if differ(left, one, right, &values, directories) {
                return values;
            }
        }
    }
    plain
}

fn differ(left: &Shape<'_>, one: &Values, right: &Shape<'_>, other: &Values, directories: &[Directory]) -> bool {
    let kind = left.rule.selector.kind;
    kind != right.rule.selector.kind
        || kind.identity().iter().any(|field| {
            if *field == Field::Directory {
                let [one, other] = [one, other]
                    .map(|values| values.get(&Field::Account).map(|account| directory_of(account, directories)));
                return one != other;
            }
            let value = |values: &Values| values.get(field).cloned().unwrap_or_default();
            !left.same(right, *field, &value(one), &value(other))
        })
}

fn subject(form: &Form, word: &[String]) -> String {
    form.pieces
        .iter()
        .zip(word)
        .map(|(piece, value)| match piece {
            Piece::Literal(text) => text.clone(),
            Piece::Variable { case, .. } => case.apply_to(value),
        })
        .collect()
}

/// A principal of the rule's kind with these values, as an operator would write it.
fn name(shape: &Shape<'_>, values: &Values) -> String {
    let get = |field: Field| values.get(&field).map_or("*", String::as_str);
    let (partition, account) = (get(Field::Partition), get(Field::Account));
    let name = match shape.rule.selector.kind {
        Kind::AssumedRole => format!("arn:{partition}:sts::{account}:assumed-role/{}/*", get(Field::Role)),
        Kind::SsoUser => {
            let set = get(Field::PermissionSet);
            format!("arn:{partition}:sts::{account}:assumed-role/AWSReservedSSO_{set}_*/{}", get(Field::User))
        }
        Kind::IamUser => format!("arn:{partition}:iam::{account}:user{}{}", get(Field::Path), get(Field::User)),
        Kind::Root => format!("arn:{partition}:iam::{account}:root"),
        Kind::FederatedUser => format!("arn:{partition}:sts::{account}:federated-user/{}", get(Field::Name)),
        Kind::Kubernetes => {
            format!("system:serviceaccount:{}:{} of {}", get(Field::Namespace), get(Field::Name), get(Field::Issuer))
        }
        Kind::Token => format!("{} of {}", get(Field::Subject), get(Field::Issuer)),
    };
    if name.len() <= MAX_NAME { name } else { format!("{name:.MAX_NAME$}...") }
}
