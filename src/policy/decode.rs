//! The second reading of a file: `serde_yaml` reads the same documents again, and gives them to serde.
//!
//! Both readings must see the same values. Where they do not, other tools will not agree either, and that is a mistake of
//! its own. `serde_yaml` alone would stop at the first mistake, without a usable place for some of them (duplicate keys,
//! missing keys); so each mistake that serde finds is reported at the place that the first reading knows, taken out of
//! the document, and the rest is read again.

use std::collections::HashMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, EnumAccess, IgnoredAny, MapAccess, SeqAccess, VariantAccess, Visitor};
use serde_path_to_error::{Path, Segment};
use serde_yaml::Value;

use super::mask::{excerpt, quoted};
use super::mistakes::{Mistake, Mistakes};
use super::raw::RawPolicy;
use super::suggest::{LATER_KEYS, ROLLOUT_KEYS, did_you_mean};
use super::tree::{Content, Entry, Node};
use super::{Code, SourceFile};

/// Reads the first `count` documents of a file, those that the first reading got through.
pub(super) fn values(file: &SourceFile, count: usize) -> impl Iterator<Item = Result<Data, serde_yaml::Error>> {
    // A byte-order mark at the start is no text; serde_yaml alone takes it for a part of the first key.
    let text = file.text.strip_prefix('\u{feff}').unwrap_or(&file.text);
    serde_yaml::Deserializer::from_str(text).take(count).map(Data::deserialize)
}

/// One document as `serde_yaml` sees it, keys given twice included.
pub(super) enum Data {
    Scalar(Value),
    List(Vec<Data>),
    Mapping(Vec<(Data, Data)>),
}

impl<'de> Deserialize<'de> for Data {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(DataVisitor)
    }
}

struct DataVisitor;

impl<'de> Visitor<'de> for DataVisitor {
    type Value = Data;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("any YAML value")
    }

    fn visit_unit<E>(self) -> Result<Data, E> {
        Ok(Data::Scalar(Value::Null))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Data, E> {
        Ok(Data::Scalar(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Data, E> {
        Ok(Data::Scalar(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Data, E> {
        Ok(Data::Scalar(value.into()))
    }

    /// Larger than any integer of the format; only that it is a number matters.
    #[expect(clippy::cast_precision_loss, reason = "the value is going to be refused")]
    fn visit_u128<E>(self, value: u128) -> Result<Data, E> {
        Ok(Data::Scalar((value as f64).into()))
    }

    #[expect(clippy::cast_precision_loss, reason = "the value is going to be refused")]
    fn visit_i128<E>(self, value: i128) -> Result<Data, E> {
        Ok(Data::Scalar((value as f64).into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Data, E> {
        Ok(Data::Scalar(value.into()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Data, E> {
        Ok(Data::Scalar(value.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Data, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Data::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Data, A::Error> {
        let mut mapping = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            mapping.push(entry);
        }
        Ok(Data::Mapping(mapping))
    }

    /// A value with a tag. The tag is reported by the first reading; the value goes on.
    fn visit_enum<A: EnumAccess<'de>>(self, value: A) -> Result<Data, A::Error> {
        let (IgnoredAny, value) = value.variant()?;
        value.newtype_variant()
    }
}

/// Puts the two readings of a document together: the value for serde, without what is reported here. Mistakes that any
/// mapping can have (a key twice, a key without value) are found here. `None` where nothing usable is left.
pub(super) fn merge(data: Data, node: &Node, mistakes: &mut Mistakes<'_>) -> Option<Value> {
    match (data, &node.content) {
        (Data::Scalar(Value::String(value)), Content::Scalar { text, .. }) if value == *text => {
            Some(Value::String(value))
        }
        (Data::Scalar(value), Content::Scalar { plain: true, .. }) if !value.is_string() => Some(value),
        (Data::List(values), Content::List(items)) if values.len() == items.len() => {
            let pairs = values.into_iter().zip(items);
            Some(Value::Sequence(pairs.map(|(value, item)| merge_item(value, item, mistakes)).collect()))
        }
        (Data::Mapping(values), Content::Mapping(entries)) if values.len() == entries.len() => {
            let mut mapping = serde_yaml::Mapping::new();
            let mut seen = HashMap::new();
            for ((key, value), entry) in values.into_iter().zip(entries) {
                if let Some(key) = merge_key(key, entry, &mut seen, mistakes)
                    && let Some(value) = merge_entry(value, &key, entry, mistakes)
                {
                    mapping.insert(Value::String(key), value);
                }
            }
            Some(Value::Mapping(mapping))
        }
        _ => {
            mistakes.add(
                Mistake::new(Code::ReadDifferently, "tools of YAML 1.1 and of YAML 1.2 read this value differently")
                    .help("write it plainly: in quotes, on one line, without control characters")
                    .at(&node.range, "read in two ways"),
            );
            None
        }
    }
}

/// An item of a list; null where it is reported, so that the others keep their index.
fn merge_item(value: Data, item: &Node, mistakes: &mut Mistakes<'_>) -> Value {
    let Some(value) = merge(value, item, mistakes) else { return Value::Null };
    if value.is_null() {
        let message = "the list has an item without a value";
        let help = "give it a value or take it out";
        mistakes.add(Mistake::new(Code::EmptyValue, message).help(help).at(&item.range, "nothing here"));
    }
    value
}

fn merge_key<'a>(
    key: Data,
    entry: &'a Entry,
    seen: &mut HashMap<&'a str, &'a Node>,
    mistakes: &mut Mistakes<'_>,
) -> Option<String> {
    let Content::Scalar { text, plain } = &entry.key.content else {
        mistakes.add(
            Mistake::new(Code::WrongType, format!("a key must be text, not {}", kind(&entry.key)))
                .help("look for a bracket or a question mark too many")
                .at(&entry.key.range, "not text"),
        );
        return None;
    };
    if matches!(&key, Data::Scalar(Value::String(other)) if other != text) {
        merge(key, &entry.key, mistakes);
        return None;
    }
    if *plain && text == "<<" {
        mistakes.add(
            Mistake::new(Code::UnsupportedYaml, "policies use no merge keys")
                .help("write the keys out")
                .at(&entry.key.range, "merge key"),
        );
        return None;
    }
    let first = *seen.entry(text).or_insert(&entry.key);
    if first.range != entry.key.range {
        mistakes.add(
            Mistake::new(Code::DuplicateKey, format!("the key {} is given twice", quoted(text)))
                .help("keep one of them")
                .at(&entry.key.range, "given again")
                .at(&first.range, "first given here"),
        );
        return None;
    }
    Some(text.clone())
}

fn merge_entry(value: Data, key: &str, entry: &Entry, mistakes: &mut Mistakes<'_>) -> Option<Value> {
    let value = merge(value, &entry.value, mistakes)?;
    if !value.is_null() {
        return Some(value);
    }
    mistakes.add(
        Mistake::new(Code::EmptyValue, format!("{} has no value", quoted(key)))
            .help("give it a value, or take the key out; empty text is written \"\"")
            .at(&entry.key.range, "no value"),
    );
    None
}

/// Reads the document with serde, as far as it can be read; every mistake on the way is reported.
pub(super) fn policy(mut value: Value, document: &Node, mistakes: &mut Mistakes<'_>) -> RawPolicy {
    loop {
        let error = match serde_path_to_error::deserialize::<_, RawPolicy>(&value) {
            Ok(policy) => return policy,
            Err(error) => error,
        };
        mistakes.add(explain(error.path(), &error.inner().to_string(), document));
        if mistakes.is_full() || !take_out(&mut value, error.path()) {
            return RawPolicy::default();
        }
    }
}

/// Takes the value at `path` out of the document. False when there is nothing to take out, so that no loop can follow.
fn take_out(value: &mut Value, path: &Path) -> bool {
    let mut segments = path.iter().peekable();
    let mut value = value;
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        match (segment, value) {
            (Segment::Map { key }, Value::Mapping(mapping)) if last => {
                return mapping.shift_remove(key.as_str()).is_some();
            }
            (Segment::Map { key }, Value::Mapping(mapping)) => match mapping.get_mut(key.as_str()) {
                Some(inner) => value = inner,
                None => return false,
            },
            (Segment::Seq { index }, Value::Sequence(items)) => match items.get_mut(*index) {
                Some(item) if last => return !std::mem::replace(item, Value::Null).is_null(),
                Some(item) => value = item,
                None => return false,
            },
            _ => return false,
        }
    }
    false
}

/// The mistake behind an error of serde, whose texts begin with the same words for every format
/// (`serde::de::Error::{unknown_field, invalid_type, invalid_value}`).
fn explain(path: &Path, message: &str, document: &Node) -> Mistake {
    let (key, node) = place(path, document);
    let name = quoted(&path.to_string());
    if let (Some(known), Some(key)) = (message.strip_prefix("unknown field "), key) {
        let known: Vec<&str> = known.split('`').skip(3).step_by(2).collect();
        let word = key.text().unwrap_or_default();
        let help = if LATER_KEYS.contains(&word) {
            format!("{} belongs to a later version of the format; this version does not know it yet", quoted(word))
        } else if path.iter().len() == 1 && ROLLOUT_KEYS.contains(&word) {
            format!("{} belongs below `rollout`: write rollout: {{ {word}: ... }}", quoted(word))
        } else {
            did_you_mean(word, &known)
        };
        return Mistake::new(Code::UnknownKey, format!("unknown key {name}")).help(help).at(&key.range, "unknown key");
    }
    let expected = match message.rsplit_once(", expected ").map(|(_, expected)| expected) {
        Some("a string") => "text",
        Some("a boolean") => "`true` or `false`",
        Some("i64") => "a whole number",
        Some("a sequence") => "a list",
        Some("a map") => "a mapping",
        Some(expected) => expected,
        None => "another kind of value",
    };
    let found = kind(node);
    let help = match (expected, &node.content) {
        ("text", Content::Scalar { text, .. }) => format!("write it in quotes: \"{}\"", excerpt(text)),
        ("a list", Content::Scalar { text, .. }) => format!("write it in brackets: [{}]", excerpt(text)),
        _ => format!("write {expected}"),
    };
    Mistake::new(Code::WrongType, format!("{name} must be {expected}, not {found}"))
        .help(help)
        .at(&node.range, format!("this is {found}"))
}

/// Where `path` leads: the last key on the way, and the value.
fn place<'a>(path: &Path, document: &'a Node) -> (Option<&'a Node>, &'a Node) {
    let mut found = (None, document);
    for segment in path {
        match segment {
            Segment::Map { key } => {
                if let Some(entry) = found.1.entry(key) {
                    found = (Some(&entry.key), &entry.value);
                }
            }
            Segment::Seq { index } => {
                if let Some(item) = found.1.item(*index) {
                    found = (found.0, item);
                }
            }
            Segment::Enum { .. } | Segment::Unknown => {}
        }
    }
    found
}

/// What a value is, in words.
pub(super) fn kind(node: &Node) -> &'static str {
    match &node.content {
        Content::List(_) => "a list",
        Content::Mapping(_) => "a mapping",
        Content::Scalar { plain: false, .. } => "text",
        Content::Scalar { text, .. } if text.len() > 64 => "text",
        Content::Scalar { text, plain: true } => match serde_yaml::from_str::<Value>(text) {
            Ok(Value::Bool(_)) => "a truth value",
            Ok(Value::Number(_)) => "a number",
            Ok(Value::Null) => "nothing",
            _ => "text",
        },
    }
}
