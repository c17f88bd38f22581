//! From the raw document to a checked [`Policy`]: closed sets, names, tags. URLs and bypass entries are checked in [`super::proxy`],
//! the limits of a rollout in [`super::rollout`]. Every mistake is reported; the policy exists only when there was none.

use std::collections::BTreeMap;
use std::ops::Range;

use super::mask::{excerpt, quoted};
use super::mistakes::{Mistake, Mistakes};
use super::model::MAX_TAG_KEY;
use super::proxy::{Flaw, check_bypass, check_url};
use super::raw::{RawList, RawPolicy, RawProxy, RawTagValue, RawTagValues, RawTags, RawTargets, RawText};
use super::suggest::did_you_mean;
use super::tree::{Content, Entry, Node};
use super::{
    Code, Components, DesiredState, DockerRestart, Origin, Policy, PolicyName, Preflight, Proxy, Selector, TagMatcher,
    Targets, is_tag_key,
};
use crate::catalog::{Component, DOCKER_SOCKET, MAX_BYPASS_CHARS, Platform, ProxyValues, ValueRule};

/// The words for `state`.
pub(super) const STATES: [&str; 2] = ["present", "absent"];
/// Characters of a tag value in EC2.
pub(super) const MAX_TAG_VALUE: usize = 256;

/// Checks one document.
pub(super) fn policy(raw: &RawPolicy, document: &Node, origin: Origin, mistakes: &mut Mistakes<'_>) -> Option<Policy> {
    let before = mistakes.errors();
    let mut check = Check { document, mistakes };
    let name = check.name(raw);
    let targets = check.targets(raw.targets.as_ref());
    let state = check.state(raw);
    let components = check.components(raw.components.as_ref());
    if let (Some(targets), Some(list)) = (&targets, &raw.components) {
        check.components_somewhere(list, &targets.platforms);
    }
    let docker_restart =
        check.choice(&["docker_restart"], raw.docker_restart.as_ref(), DockerRestart::ALL, DockerRestart::name);
    let preflight = check.choice(&["preflight"], raw.preflight.as_ref(), Preflight::ALL, Preflight::name);
    let rollout = check.rollout(raw.rollout.as_ref());
    let policy = Policy {
        name: name?,
        description: raw.description.as_ref().map(|text| text.0.clone()),
        origin,
        targets: targets?,
        state: state?,
        components: components?,
        docker_restart: docker_restart.unwrap_or_default(),
        preflight: preflight.unwrap_or_default(),
        rollout,
        priority: raw.priority.unwrap_or(Policy::DEFAULT_PRIORITY),
    };
    (mistakes.errors() == before).then_some(policy)
}

/// One document under check.
pub(super) struct Check<'a, 'b, 'c> {
    document: &'a Node,
    mistakes: &'b mut Mistakes<'c>,
}

impl<'a> Check<'a, '_, '_> {
    /// The entry at `path` of the document. A value that serde has read is there; the fallback is never shown.
    pub(super) fn entry(&self, path: &[&str]) -> Option<&'a Entry> {
        let (last, parents) = path.split_last()?;
        parents.iter().try_fold(self.document, |node, key| Some(&node.entry(key)?.value))?.entry(last)
    }

    pub(super) fn value(&self, path: &[&str]) -> &'a Node {
        self.entry(path).map_or(self.document, |entry| &entry.value)
    }

    pub(super) fn item(&self, path: &[&str], index: usize) -> &'a Node {
        let list = self.value(path);
        list.item(index).unwrap_or(list)
    }

    pub(super) fn add(
        &mut self,
        code: Code,
        message: impl Into<String>,
        help: impl Into<String>,
        at: &Range<usize>,
        label: impl Into<String>,
    ) {
        self.mistakes.add(Mistake::new(code, message).help(help).at(at, label));
    }

    fn flaw(&mut self, flaw: Flaw, at: &Range<usize>, label: &str) {
        self.add(flaw.code, flaw.message, flaw.help, at, label);
    }

    /// Reports that the key at `path` is missing, unless it is there and something else was reported about it.
    pub(super) fn missing(&mut self, path: &[&str], help: &str) {
        if self.entry(path).is_some() {
            return;
        }
        let parent = match &path[..path.len() - 1] {
            [] => self.document.first_key(),
            parents => self.entry(parents).map_or(&self.document.range, |entry| &entry.key.range),
        };
        let name = path.join(".");
        self.add(Code::MissingKey, format!("`{name}` is missing"), help, parent, "missing here");
    }

    fn name(&mut self, raw: &RawPolicy) -> Option<PolicyName> {
        let Some(RawText(text)) = &raw.policy else {
            self.missing(&["policy"], "give the policy a name, such as policy: ecs-production");
            return None;
        };
        let node = self.value(&["policy"]);
        self.quoted_where_needed(node);
        let name = PolicyName::parse(text);
        if name.is_none() {
            let message = format!("{} is not a policy name", quoted(text));
            let help = "write 1 to 64 lower-case letters, digits and dashes, with a letter or digit first";
            self.add(Code::BadPolicyName, message, help, &node.range, "not a name");
        }
        name
    }

    fn targets(&mut self, raw: Option<&RawTargets>) -> Option<Targets> {
        let Some(raw) = raw else {
            self.missing(
                &["targets"],
                "name the tags of the instances: targets: { tags: { Environment: production } }",
            );
            return None;
        };
        let tags = self.selector(&["targets", "tags"], raw.tags.as_ref());
        let exclude = match &raw.exclude {
            Some(exclude) => self.selector(&["targets", "exclude", "tags"], exclude.tags.as_ref()),
            None => Some(Selector::default()),
        };
        let platforms = match &raw.platforms {
            Some(list) => self.set(&["targets", "platforms"], list, &Platform::ALL, Platform::name),
            None => Platform::ALL.to_vec(),
        };
        Some(Targets { tags: tags?, exclude: exclude?, platforms })
    }

    fn selector(&mut self, path: &[&str], raw: Option<&RawTags>) -> Option<Selector> {
        let Some(raw) = raw else {
            self.missing(path, "name at least one tag, such as Environment: production");
            return None;
        };
        let node = self.value(path);
        if matches!(&node.content, Content::Mapping(entries) if entries.is_empty()) {
            let message = format!("`{}` names no tag", path.join("."));
            let help = "name at least one tag, such as Environment: production; to mean every value of a tag, write Environment: \"*\"";
            self.add(Code::NoTargetTags, message, help, &node.range, "no tag");
            return None;
        }
        let mut matchers = BTreeMap::new();
        for (key, values) in raw {
            let Some(entry) = node.entry(key) else { continue };
            self.tag_key(key, &entry.key);
            matchers.insert(key.clone(), self.matcher(key, values, &entry.value));
        }
        Some(Selector(matchers))
    }

    /// Reports a key that no tag can have, or that other tools do not take for text.
    pub(super) fn tag_key(&mut self, key: &str, node: &Node) {
        self.quoted_where_needed(node);
        if !is_tag_key(key) {
            let help = format!("AWS tag keys have 1 to {MAX_TAG_KEY} characters");
            self.add(Code::BadTagKey, "no tag can have this key", help, &node.range, "not a tag key");
        }
    }

    fn matcher(&mut self, key: &str, raw: &RawTagValues, node: &Node) -> TagMatcher {
        let mut values: Vec<&str> = Vec::new();
        for (index, value) in raw.values.iter().enumerate() {
            let Some(RawTagValue(text)) = value else { continue };
            let place = if raw.list { node.item(index).unwrap_or(node) } else { node };
            if !self.quoted_where_needed(place) {
                continue;
            }
            let text = text.as_ref().map_or("", |text| text.0.as_str());
            if text.chars().count() > MAX_TAG_VALUE {
                let help = format!("AWS tag values have at most {MAX_TAG_VALUE} characters");
                let message = format!("no tag {} can have this value", quoted(key));
                self.add(Code::BadTagValue, message, help, &place.range, "too long");
            }
            if values.contains(&text) {
                self.repeated(text, &place.range);
            } else {
                values.push(text);
            }
        }
        if raw.values.is_empty() {
            self.empty_list(&format!("the tag {}", quoted(key)), &node.range);
        }
        TagMatcher::new(values)
    }

    /// Reports text without quotes that other tools take for a number, a date or a truth value.
    pub(super) fn quoted_where_needed(&mut self, node: &Node) -> bool {
        let Content::Scalar { text, plain: true } = &node.content else { return true };
        if !looks_like_something_else(text) {
            return true;
        }
        let message = format!("{} is not text to every tool that reads YAML", quoted(text));
        let help = format!("write it in quotes: \"{}\"", excerpt(text));
        self.add(Code::Unquoted, message, help, &node.range, "without quotes");
        false
    }

    fn state(&mut self, raw: &RawPolicy) -> Option<DesiredState> {
        let absent = match &raw.state {
            Some(text) => self.choice(&["state"], Some(text), STATES, |word| word)? == "absent",
            // A state of the wrong kind is reported; whether a proxy belongs to it is not known.
            None if self.entry(&["state"]).is_some() => return None,
            None => false,
        };
        match (absent, &raw.proxy) {
            (true, None) if self.entry(&["proxy"]).is_none() => Some(DesiredState::Absent),
            (true, _) => {
                let entry = self.entry(&["proxy"])?;
                let message = "a policy with `state: absent` takes the settings away, so it has no `proxy`";
                self.add(
                    Code::ProxyNotWanted,
                    message,
                    "take `proxy` out, or write state: present",
                    &entry.key.range,
                    "not wanted",
                );
                None
            }
            (false, Some(proxy)) => self.proxy(proxy).map(DesiredState::Present),
            (false, None) => {
                self.missing(
                    &["proxy"],
                    "name the proxy: proxy: { http: \"http://host:3128\" }, or write state: absent",
                );
                None
            }
        }
    }

    fn proxy(&mut self, raw: &RawProxy) -> Option<Proxy> {
        let tls = raw.tls_to_proxy.unwrap_or(false);
        let http = raw.http.as_ref().map(|text| self.url("http", text, tls));
        if http.is_none() {
            self.missing(&["proxy", "http"], "name the proxy, such as http: http://10.0.0.131:3128");
        }
        let http = http.flatten();
        let https = match &raw.https {
            Some(text) => self.url("https", text, tls),
            None => http.clone(),
        };
        let uses_tls = [&raw.http, &raw.https].into_iter().flatten().any(|text| text.0.starts_with("https://"));
        if tls && !uses_tls {
            let node = self.value(&["proxy", "tls_to_proxy"]);
            let message = "`tls_to_proxy: true` has no effect: no proxy URL starts with https://";
            self.add(Code::TlsUnused, message, "take it out, or write the URL with https://", &node.range, "no effect");
        }
        let no_proxy = raw.no_proxy.as_ref().map(|list| self.no_proxy(list)).unwrap_or_default();
        let proxy = Proxy { http: http?, https: https?, no_proxy };
        self.bypass_length(&proxy);
        Some(proxy)
    }

    fn url(&mut self, key: &str, text: &RawText, tls: bool) -> Option<super::ProxyUrl> {
        let node = self.value(&["proxy", key]);
        let (url, flaws) = check_url(&text.0, tls);
        for flaw in flaws {
            self.flaw(flaw, &node.range, "this URL");
        }
        url
    }

    fn no_proxy(&mut self, list: &RawList) -> Vec<String> {
        let path = ["proxy", "no_proxy"];
        let mut entries: Vec<String> = Vec::new();
        for (index, entry) in list.0.iter().enumerate() {
            let Some(RawText(entry)) = entry else { continue };
            let node = self.item(&path, index);
            if let Some(flaw) = check_bypass(entry) {
                self.flaw(flaw, &node.range, "this entry");
            } else if entries.iter().any(|known| known.eq_ignore_ascii_case(entry)) {
                self.repeated(entry, &node.range);
            } else {
                entries.push(entry.clone());
            }
        }
        entries
    }

    fn bypass_length(&mut self, proxy: &Proxy) {
        let bypass = proxy.no_proxy.iter().map(String::as_str);
        let values = ProxyValues::new(String::new(), String::new(), bypass);
        let length = values.value(ValueRule::BypassWithSocket).len();
        if length > MAX_BYPASS_CHARS {
            let entry = self.entry(&["proxy", "no_proxy"]).map_or(&self.document.range, |entry| &entry.key.range);
            let message = format!(
                "`proxy.no_proxy` has {length} characters with what is always added (such as {DOCKER_SOCKET}); {MAX_BYPASS_CHARS} are allowed"
            );
            self.add(
                Code::BypassTooLong,
                message,
                "replace hosts of one domain by its suffix, such as .corp.example.com",
                entry,
                "too long",
            );
        }
    }

    fn components(&mut self, raw: Option<&RawList>) -> Option<Components> {
        let Some(list) = raw else {
            self.missing(
                &["components"],
                "name what is to be configured: components: [ecs-agent, ecs-init, docker, package-manager]",
            );
            return None;
        };
        Some(self.set(&["components"], list, &Component::IN_POLICIES, Component::name))
    }

    /// Reports components that none of `platforms` has.
    fn components_somewhere(&mut self, list: &RawList, platforms: &[Platform]) {
        for (index, word) in list.0.iter().enumerate() {
            let component = word.as_ref().and_then(|RawText(word)| Component::from_name(word));
            let Some(component) = component.filter(|component| Component::IN_POLICIES.contains(component)) else {
                continue;
            };
            if platforms.iter().any(|platform| platform.component(component).is_some()) {
                continue;
            }
            let names: Vec<&str> = platforms.iter().map(|platform| platform.name()).collect();
            let has = Platform::ALL.iter().filter(|platform| platform.component(component).is_some());
            let has: Vec<&str> = has.map(|platform| platform.name()).collect();
            let message = format!("`components[{index}]`: there is no {component} on {}", names.join(", "));
            let help = format!("take it out, or target a platform that has it: {}", has.join(", "));
            self.add(Code::ComponentNowhere, message, help, &self.item(&["components"], index).range, "not there");
        }
    }

    /// A list of words out of a closed set, given back in the order of the set.
    fn set<T: Copy>(&mut self, path: &[&str], list: &RawList, all: &[T], name: fn(T) -> &'static str) -> Vec<T> {
        let mut named: Vec<&str> = Vec::new();
        if list.0.is_empty() {
            self.empty_list(&format!("`{}`", path.join(".")), &self.value(path).range);
        }
        for (index, word) in list.0.iter().enumerate() {
            let Some(RawText(word)) = word else { continue };
            let node = self.item(path, index);
            if named.contains(&word.as_str()) {
                self.repeated(word, &node.range);
            } else if all.iter().any(|known| name(*known) == word) {
                named.push(word);
            } else {
                self.unknown(
                    &format!("{}[{index}]", path.join(".")),
                    word,
                    &all.iter().map(|known| name(*known)).collect::<Vec<_>>(),
                    &node.range,
                );
            }
        }
        all.iter().copied().filter(|known| named.contains(&name(*known))).collect()
    }

    /// One word out of a closed set.
    pub(super) fn choice<T: Copy, const N: usize>(
        &mut self,
        path: &[&str],
        raw: Option<&RawText>,
        all: [T; N],
        name: fn(T) -> &'static str,
    ) -> Option<T> {
        let RawText(word) = raw?;
        let found = all.into_iter().find(|known| name(*known) == word);
        if found.is_none() {
            self.unknown(&path.join("."), word, &all.map(name), &self.value(path).range);
        }
        found
    }

    fn unknown(&mut self, path: &str, word: &str, known: &[&str], at: &Range<usize>) {
        let message = format!("{} is not a value for `{path}`", quoted(word));
        self.add(Code::UnknownValue, message, did_you_mean(word, known), at, "not known");
    }

    fn repeated(&mut self, word: &str, at: &Range<usize>) {
        self.add(Code::RepeatedValue, format!("{} is in the list twice", quoted(word)), "take one out", at, "again");
    }

    pub(super) fn empty_list(&mut self, name: &str, at: &Range<usize>) {
        self.add(Code::EmptyList, format!("{name} has an empty list"), "name at least one value", at, "empty");
    }
}

/// Whether unquoted text is a number, date, truth value or nothing to some reader of YAML, of version 1.1 or 1.2.
fn looks_like_something_else(text: &str) -> bool {
    const WORDS: [&str; 10] = ["true", "false", "yes", "no", "on", "off", "y", "n", "null", "~"];
    if text.is_empty() || text == "=" || WORDS.contains(&text.to_ascii_lowercase().as_str()) {
        return true;
    }
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    if matches!(unsigned.to_ascii_lowercase().as_str(), ".inf" | ".nan") {
        return true;
    }
    // Numbers in any base, with fractions, exponents and `_`; `1:30` in base 60; dates and times.
    let prefixed = ["0x", "0o", "0b"].iter().find_map(|prefix| unsigned.strip_prefix(prefix));
    if let Some(digits) = prefixed {
        return !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'_');
    }
    let number = unsigned.strip_prefix('.').unwrap_or(unsigned);
    let starts_as_number = number.starts_with(|character: char| character.is_ascii_digit());
    let decimal = number
        .bytes()
        .all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'_' | b':' | b'-' | b'+' | b'e' | b'E'));
    starts_as_number && (decimal && !is_dotted(number) || is_time(unsigned))
}

/// Three or more numbers with dots, such as an address or a version: text to every reader.
fn is_dotted(text: &str) -> bool {
    text.matches('.').count() >= 2 && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
}

/// A date, with or without a time: `2026-11-23T10:00:00Z`.
fn is_time(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() >= 8
        && bytes[..4].iter().all(u8::is_ascii_digit)
        && bytes[4] == b'-'
        && bytes[5..].iter().all(|byte| byte.is_ascii_digit() || b"-+:.TtZz ".contains(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_that_some_tool_reads_as_something_else_is_noticed() {
        for text in [
            "true",
            "No",
            "ON",
            "y",
            "~",
            "null",
            "",
            "1",
            "-1",
            "+1",
            "010",
            "0o17",
            "0x1F",
            "1_000",
            "1.5",
            ".5",
            "1e3",
            "1.5e-3",
            "1:30",
            "190:20:30",
            ".inf",
            "-.INF",
            ".NaN",
            "2026-11-23",
            "2026-11-23T10:00:00Z",
            "2026-1-2",
            "=",
        ] {
            assert!(looks_like_something_else(text), "{text}");
        }
        for text in [
            "production",
            "ecs-*",
            "10.0.0.1",
            "1.2.3",
            "v1",
            "1a",
            "a:1",
            "yes-men",
            "nobody",
            "0xyz",
            "-",
            "*",
            "eu-central-1",
            "2026-prod",
            "1-web",
        ] {
            assert!(!looks_like_something_else(text), "{text}");
        }
    }
}
