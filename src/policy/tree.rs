//! The first reading of a file: where everything is.
//!
//! serde does not tell where a value was, so the events of `granit-parser` are gathered into a tree of byte ranges. The
//! limits are enforced here, event by event, before the second reading (see [`super::decode`]) looks at the text at all.

use std::collections::HashMap;
use std::ops::Range;

use granit_parser::{Event, Options, Parser, ScalarStyle, ScanError};

use super::mask::quoted;
use super::mistakes::{Mistake, Mistakes};
use super::{Code, SourceFile};

/// Bytes of a policy file. The largest sensible one has a few dozen policies of half a kilobyte.
const MAX_BYTES: usize = 1024 * 1024;
/// Values of a file, keys included. A policy has about forty.
const MAX_VALUES: usize = 100_000;
/// Levels of nesting. The format has four.
const MAX_DEPTH: usize = 16;
/// Documents of a file.
const MAX_DOCUMENTS: usize = 1000;
/// Aliases of a document.
const MAX_ALIASES: usize = 16;
/// Values that all aliases of a document stand for.
const MAX_ALIASED_VALUES: usize = 1000;

/// A value and where it is written.
#[derive(Clone)]
pub(super) struct Node {
    /// The bytes of the value; of a mapping or list in block style, those from its first to its last entry.
    pub(super) range: Range<usize>,
    pub(super) content: Content,
}

#[derive(Clone)]
pub(super) enum Content {
    /// Text after quotes and escapes are gone, and whether it had no quotes.
    Scalar {
        text: String,
        plain: bool,
    },
    List(Vec<Node>),
    Mapping(Vec<Entry>),
}

/// A key with its value.
#[derive(Clone)]
pub(super) struct Entry {
    pub(super) key: Node,
    pub(super) value: Node,
}

impl Node {
    /// The first entry with this key, when this is a mapping that has it.
    pub(super) fn entry(&self, key: &str) -> Option<&Entry> {
        let Content::Mapping(entries) = &self.content else { return None };
        entries.iter().find(|entry| entry.key.text() == Some(key))
    }

    /// The item at this index, when this is a list that has it.
    pub(super) fn item(&self, index: usize) -> Option<&Self> {
        let Content::List(items) = &self.content else { return None };
        items.get(index)
    }

    /// The text, when this is a scalar.
    pub(super) fn text(&self) -> Option<&str> {
        match &self.content {
            Content::Scalar { text, .. } => Some(text),
            _ => None,
        }
    }

    /// The bytes of the first key, when this is a mapping that has one; else of the whole value.
    pub(super) fn first_key(&self) -> &Range<usize> {
        match &self.content {
            Content::Mapping(entries) => entries.first().map_or(&self.range, |entry| &entry.key.range),
            _ => &self.range,
        }
    }

    /// The end of the last entry.
    fn last_byte(&self) -> usize {
        let last = match &self.content {
            Content::Scalar { .. } => None,
            Content::List(items) => items.last(),
            Content::Mapping(entries) => entries.last().map(|entry| &entry.value),
        };
        last.map_or(self.range.end, |node| node.range.end).max(self.range.start)
    }

    /// How many values this is, and how deep they are nested. Both are small: the tree is bounded.
    fn measure(&self) -> (usize, usize) {
        let children: Vec<&Self> = match &self.content {
            Content::Scalar { .. } => return (1, 0),
            Content::List(items) => items.iter().collect(),
            Content::Mapping(entries) => entries.iter().flat_map(|entry| [&entry.key, &entry.value]).collect(),
        };
        let (values, depths): (Vec<usize>, Vec<usize>) = children.into_iter().map(Self::measure).unzip();
        (1 + values.iter().sum::<usize>(), 1 + depths.into_iter().max().unwrap_or(0))
    }
}

/// How the text is read. Comments are of no interest, and granit-parser allows only so many of them in a row. A block of
/// text that ends the file without a line break is read as `serde_yaml` reads it.
pub(super) fn options() -> Options {
    granit_parser::options! { emit_comments: false, block_scalar_eof_without_line_feed: true }
}

/// The documents of a file. Empty when the file cannot be read, or holds none; the reason is among the mistakes.
/// A document after which the reading had to stop is not among them.
pub(super) fn documents(file: &SourceFile, mistakes: &mut Mistakes<'_>) -> Vec<Node> {
    if file.text.len() > MAX_BYTES {
        let message = format!("the file has {} bytes; {MAX_BYTES} are allowed", file.text.len());
        let help = "split it into several files: a folder is read as a whole";
        mistakes.add(Mistake::new(Code::FileTooLarge, message).help(help).at(&(0..0), "in this file"));
        return Vec::new();
    }
    let mut reader = Reader::default();
    for event in Parser::new_from_str_with_options(&file.text, options()) {
        let step = match event {
            Ok((event, span)) => reader.take(event, &span.byte_range().unwrap_or(0..0)),
            Err(error) => Err(syntax_mistake(file, &error)),
        };
        if let Err(mistake) = step {
            mistakes.add(mistake);
            break;
        }
    }
    for mistake in reader.mistakes {
        mistakes.add(mistake);
    }
    reader.documents
}

fn syntax_mistake(file: &SourceFile, error: &ScanError) -> Mistake {
    let start = error.marker().byte_offset().unwrap_or(0).min(file.text.len());
    let length = file.text.get(start..).and_then(|rest| rest.chars().next()).map_or(0, char::len_utf8);
    Mistake::new(Code::Syntax, format!("this is not YAML: {}", error.info()))
        .help("check indentation, quotes and brackets here and in the lines above")
        .at(&(start..start + length), "the reading stopped here")
}

/// A mapping or list that is being read.
struct Open {
    node: Node,
    /// A mapping's key that waits for its value.
    key: Option<Node>,
    anchor: usize,
}

#[derive(Default)]
struct Reader {
    documents: Vec<Node>,
    open: Vec<Open>,
    anchors: HashMap<usize, Node>,
    values: usize,
    aliases: usize,
    aliased_values: usize,
    mistakes: Vec<Mistake>,
}

impl Reader {
    fn take(&mut self, event: Event<'_>, range: &Range<usize>) -> Result<(), Mistake> {
        if let Some(tag) = event.tag() {
            self.mistakes.push(
                Mistake::new(
                    Code::UnsupportedYaml,
                    format!("policies use no YAML tags, and here is {}", quoted(&tag.to_string())),
                )
                .help("leave the tag out; write text in quotes where it must be text")
                .at(range, "this value has a tag"),
            );
        }
        self.values += usize::from(event.is_node());
        if self.values > MAX_VALUES {
            return Err(Mistake::new(
                Code::FileTooLarge,
                format!("the file has more than {MAX_VALUES} keys and values"),
            )
            .help("split it into several files: a folder is read as a whole")
            .at(range, "one too many"));
        }
        match event {
            Event::DocumentStart(..) => self.start_document(range),
            Event::Scalar(text, style, anchor, _) => {
                let content = Content::Scalar { text: text.into_owned(), plain: style == ScalarStyle::Plain };
                self.close(Node { range: range.clone(), content }, anchor);
                Ok(())
            }
            Event::SequenceStart(_, anchor, _) => self.start(Content::List(Vec::new()), anchor, range),
            Event::MappingStart(_, anchor, _) => self.start(Content::Mapping(Vec::new()), anchor, range),
            Event::SequenceEnd | Event::MappingEnd => {
                if let Some(mut open) = self.open.pop() {
                    // The end of a block is an empty place at whatever comes next; that of brackets is the bracket.
                    open.node.range.end = if range.is_empty() { open.node.last_byte() } else { range.end };
                    self.close(open.node, open.anchor);
                }
                Ok(())
            }
            Event::Alias(anchor) => self.alias(anchor, range),
            _ => Ok(()),
        }
    }

    fn start_document(&mut self, range: &Range<usize>) -> Result<(), Mistake> {
        self.anchors.clear();
        self.aliases = 0;
        self.aliased_values = 0;
        if self.documents.len() < MAX_DOCUMENTS {
            return Ok(());
        }
        Err(Mistake::new(Code::TooManyDocuments, format!("the file has more than {MAX_DOCUMENTS} documents"))
            .help("split it into several files: a folder is read as a whole")
            .at(range, "one too many"))
    }

    fn start(&mut self, content: Content, anchor: usize, range: &Range<usize>) -> Result<(), Mistake> {
        if self.open.len() >= MAX_DEPTH {
            return Err(too_deep(range));
        }
        self.open.push(Open { node: Node { range: range.clone(), content }, key: None, anchor });
        Ok(())
    }

    /// A value is complete: it goes into the mapping or list around it, or is a document.
    fn close(&mut self, node: Node, anchor: usize) {
        if anchor > 0 {
            self.anchors.insert(anchor, node.clone());
        }
        let Some(open) = self.open.last_mut() else {
            self.documents.push(node);
            return;
        };
        match &mut open.node.content {
            Content::Mapping(entries) => match open.key.take() {
                Some(key) => entries.push(Entry { key, value: node }),
                None => open.key = Some(node),
            },
            Content::List(items) => items.push(node),
            Content::Scalar { .. } => unreachable!("invariant: a scalar is never open"),
        }
    }

    fn alias(&mut self, anchor: usize, range: &Range<usize>) -> Result<(), Mistake> {
        let Some(node) = self.anchors.get(&anchor) else {
            return Err(Mistake::new(Code::TooManyAliases, "the alias stands for a value that it is a part of")
                .help("write the value out")
                .at(range, "this alias never ends"));
        };
        let node = Node { range: range.clone(), content: node.content.clone() };
        let (values, depth) = node.measure();
        if self.open.len() + depth > MAX_DEPTH {
            return Err(too_deep(range));
        }
        self.aliases += 1;
        self.aliased_values += values;
        if self.aliases > MAX_ALIASES || self.aliased_values > MAX_ALIASED_VALUES {
            let message =
                format!("at most {MAX_ALIASES} aliases, for {MAX_ALIASED_VALUES} values, are allowed in a document");
            return Err(Mistake::new(Code::TooManyAliases, message)
                .help("write the values out; a policy is short")
                .at(range, "one too many"));
        }
        self.close(node, 0);
        Ok(())
    }
}

fn too_deep(range: &Range<usize>) -> Mistake {
    Mistake::new(Code::TooDeep, format!("nested deeper than {MAX_DEPTH} levels"))
        .help("a policy needs four levels; look for a missing line break or bracket")
        .at(range, "here")
}
