//! The whole way from files to policies.

use std::collections::BTreeMap;

use super::mistakes::{Mistake, Mistakes};
use super::tree::{Content, Node};
use super::{
    Code, Diagnostic, Origin, Policy, PolicyName, PolicySet, Selector, Severity, SourceFile, Span, check, decode, tree,
};

/// What came out of a set of files.
#[derive(Clone, Debug, Default)]
pub struct Loaded {
    /// The policies without errors of their own. To be used only when [`Loaded::has_errors`] is false: what a broken
    /// policy would have done to an instance, a lesser one must not do instead (decision D13).
    pub set: PolicySet,
    /// Every mistake, in the order of files and of places in them.
    pub diagnostics: Vec<Diagnostic>,
}

impl Loaded {
    /// Whether anything stops the run.
    pub fn has_errors(&self) -> bool {
        self.diagnostics.iter().any(|diagnostic| diagnostic.severity == Severity::Error)
    }
}

/// Reads and checks policy files as a set.
///
/// All mistakes of all files are found in one go, as far as the files can be read: after a syntax error the rest of that
/// file is not looked at. The names of the files should differ.
pub fn load(files: &[SourceFile]) -> Loaded {
    let mut set = CrossChecks::default();
    let mut loaded = Loaded::default();
    for file in files {
        let mut mistakes = Mistakes::of(file);
        load_file(file, &mut set, &mut loaded.set.policies, &mut mistakes);
        loaded.diagnostics.extend(mistakes.into_sorted());
    }
    loaded
}

fn load_file(file: &SourceFile, set: &mut CrossChecks, policies: &mut Vec<Policy>, mistakes: &mut Mistakes<'_>) {
    let documents = tree::documents(file, mistakes);
    let empty = documents.iter().all(is_nothing);
    if empty && mistakes.errors() == 0 {
        let place = Mistake::new(Code::EmptyFile, "the file holds no policy");
        mistakes.add(place.help("write a policy into it, or delete it").at(&(0..0), "in this file"));
        return;
    }
    let values = decode::values(file, documents.len()).map(Some).chain(std::iter::repeat_with(|| None));
    for (document, data) in documents.iter().zip(values) {
        if mistakes.is_full() {
            return;
        }
        let before = mistakes.errors();
        let Some(raw) = read_document(document, data, mistakes) else { continue };
        let start = Span::new(file, document.first_key().clone(), "");
        let origin = Origin { file: file.name.clone(), line: start.line };
        let policy = check::policy(&raw, document, origin, mistakes);
        if let Some(name) = raw.policy.as_ref().and_then(|name| PolicyName::parse(&name.0)) {
            let at = document.entry("policy").map_or(&document.range, |entry| &entry.value.range);
            let place = Span::new(file, at.clone(), "");
            set.name_is_unique(name, &place, mistakes);
            if let Some(policy) = &policy {
                set.targets_are_unique(policy, &place, mistakes);
            }
        }
        policies.extend(policy.filter(|_| mistakes.errors() == before));
    }
}

/// An empty document, as between two lines of `---`.
fn is_nothing(document: &Node) -> bool {
    matches!(document.content, Content::Scalar { plain: true, .. }) && document.range.is_empty()
}

fn read_document(
    document: &Node,
    data: Option<Result<decode::Data, serde_yaml::Error>>,
    mistakes: &mut Mistakes<'_>,
) -> Option<super::raw::RawPolicy> {
    if is_nothing(document) {
        return None;
    }
    if !matches!(document.content, Content::Mapping(_)) {
        let message = format!("a policy is a mapping of keys to values, not {}", decode::kind(document));
        let help = "write one `key: value` a line, and start with `policy: name`";
        mistakes.add(Mistake::new(Code::NotAMapping, message).help(help).at(&document.range, "not a mapping"));
        return None;
    }
    let Some(Ok(data)) = data else {
        let reason = match data {
            Some(Err(error)) => format!(": {error}"),
            _ => String::new(),
        };
        mistakes.add(
            Mistake::new(Code::ReadDifferently, format!("tools of YAML 1.1 cannot read this document{reason}"))
                .help("write it plainly: quoted text on one line, no control characters, no directives")
                .at(document.first_key(), "in this document"),
        );
        return None;
    };
    let value = decode::merge(data, document, mistakes)?;
    Some(decode::policy(value, document, mistakes))
}

/// What can only be seen with all policies at hand.
#[derive(Default)]
struct CrossChecks {
    names: BTreeMap<PolicyName, Span>,
    targets: Vec<(TargetsKey, Policy, Span)>,
}

/// Priority and selectors in a form that is equal where they mean the same.
#[derive(PartialEq, Eq)]
struct TargetsKey {
    priority: i64,
    tags: Vec<(String, Vec<String>)>,
    exclude: Vec<(String, Vec<String>)>,
}

impl CrossChecks {
    fn name_is_unique(&mut self, name: PolicyName, place: &Span, mistakes: &mut Mistakes<'_>) {
        match self.names.get(&name) {
            None => {
                self.names.insert(name, place.clone());
            }
            Some(first) => {
                let message = format!("the policy name `{name}` is taken by {}:{}", first.file, first.line);
                let spans = vec![label(place, "taken"), label(first, "first given here")];
                mistakes.add_with_spans(
                    Code::DuplicatePolicyName,
                    &message,
                    Some("give one of them another name".into()),
                    spans,
                );
            }
        }
    }

    /// Two policies of one priority with the same selectors conflict on every instance they match. Conflicts of
    /// policies with different selectors depend on the instances, and are found by [`crate::plan`].
    fn targets_are_unique(&mut self, policy: &Policy, place: &Span, mistakes: &mut Mistakes<'_>) {
        let key = TargetsKey {
            priority: policy.priority,
            tags: canonical(&policy.targets.tags),
            exclude: canonical(&policy.targets.exclude),
        };
        let same = self.targets.iter().find(|(known, other, _)| {
            *known == key && other.targets.platforms.iter().any(|platform| policy.targets.platforms.contains(platform))
        });
        if let Some((_, other, first)) = same {
            let message = format!(
                "`{}` and `{}` ({}:{}) have the same targets and the same priority {}, so neither goes first",
                policy.name, other.name, first.file, first.line, policy.priority
            );
            let help = "give them different priorities, or make one policy of them";
            let spans = vec![label(place, "this policy"), label(first, "and this one")];
            mistakes.add_with_spans(Code::SameTargets, &message, Some(help.into()), spans);
        }
        self.targets.push((key, policy.clone(), place.clone()));
    }
}

fn label(place: &Span, label: &str) -> Span {
    Span { label: label.to_owned(), ..place.clone() }
}

fn canonical(selector: &Selector) -> Vec<(String, Vec<String>)> {
    let values = |matcher: &super::TagMatcher| {
        let mut values: Vec<String> = matcher.patterns().iter().map(|pattern| pattern.as_str().to_owned()).collect();
        values.sort_unstable();
        values
    };
    selector.0.iter().map(|(key, matcher)| (key.clone(), values(matcher))).collect()
}
