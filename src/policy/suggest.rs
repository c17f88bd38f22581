//! Guessing what was meant by an unknown word.

use super::mask::quoted;

/// Keys that the format will have once their behaviour exists.
pub(super) const LATER_KEYS: [&str; 3] = ["remediation", "windows", "schedule"];

/// Keys of `rollout`, which people write at the top of a policy as well.
pub(super) const ROLLOUT_KEYS: [&str; 11] = [
    "waves",
    "max_concurrency",
    "max_unavailable",
    "docker_max_unavailable",
    "spread_by",
    "max_errors",
    "budgets",
    "soak",
    "gate",
    "alarm",
    "on_failure",
];

/// Values that will be known once their behaviour exists.
const LATER_VALUES: [&str; 3] = ["ssm-agent", "live-restore", "drain"];

/// A help that names the nearest known word where one is near, and all of them.
pub(super) fn did_you_mean(word: &str, known: &[&str]) -> String {
    let all = known.iter().map(|known| format!("`{known}`")).collect::<Vec<_>>().join(", ");
    if LATER_VALUES.contains(&word) {
        return format!("{} belongs to a later version; this version knows {all}", quoted(word));
    }
    match nearest(word, known) {
        Some(nearest) if known.len() > 1 => format!("did you mean `{nearest}`? Known here: {all}"),
        _ if known.len() == 1 => format!("only {all} is known here"),
        _ => format!("known here: {all}"),
    }
}

/// The known word with the fewest letters to change, where these are few for its length.
fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    // Longer words are no slips of the finger, and the comparison takes time that grows with the square of the length.
    const LONGEST: usize = 64;
    if word.len() > LONGEST {
        return None;
    }
    let word = word.to_lowercase().replace('_', "-");
    known
        .iter()
        .map(|known| (strsim::damerau_levenshtein(&word, &known.replace('_', "-")), *known))
        .filter(|(distance, known)| *distance <= known.len().max(3) / 3)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keys_of_a_rollout_are_those_of_the_schema() {
        let schema = crate::policy::schema();
        let known = schema["$defs"]["rollout"]["properties"].as_object().expect("a mapping");
        assert_eq!(known.keys().collect::<Vec<_>>(), ROLLOUT_KEYS);
    }

    #[test]
    fn the_nearest_word_is_found_where_one_is_near() {
        let keys = ["http", "https", "no_proxy", "tls_to_proxy"];
        for (word, expected) in [
            ("htpp", Some("http")),
            ("HTTPS", Some("https")),
            ("no-proxy", Some("no_proxy")),
            ("noproxy", Some("no_proxy")),
            ("tls_proxy", Some("tls_to_proxy")),
            ("socks", None),
            ("", None),
        ] {
            assert_eq!(nearest(word, &keys), expected, "{word}");
        }
        assert_eq!(nearest(&"http".repeat(100), &keys), None);
    }
}
