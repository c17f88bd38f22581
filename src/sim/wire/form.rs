//! The form body of a query request.

/// The decoded parameters of a request, in their order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Form(Vec<(String, String)>);

impl Form {
    /// Decodes `application/x-www-form-urlencoded` text. Broken escapes stay as they are.
    pub(crate) fn parse(body: &str) -> Self {
        Self(
            body.split('&')
                .filter(|pair| !pair.is_empty())
                .map(|pair| {
                    let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
                    (decode(key), decode(value))
                })
                .collect(),
        )
    }

    /// The operation.
    pub(crate) fn action(&self) -> &str {
        self.get("Action").unwrap_or_default()
    }

    /// One parameter.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// All parameters.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// The values of the list `PREFIX.1`, `PREFIX.2`, ... in the order of their numbers.
    pub(crate) fn list(&self, prefix: &str) -> Vec<&str> {
        let mut numbered: Vec<(u32, &str)> = self
            .iter()
            .filter_map(|(key, value)| {
                let number = key.strip_prefix(prefix)?.strip_prefix('.')?.parse().ok()?;
                Some((number, value))
            })
            .collect();
        numbered.sort_by_key(|(number, _)| *number);
        numbered.into_iter().map(|(_, value)| value).collect()
    }
}

fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let escaped = (bytes[at] == b'%')
            .then(|| text.get(at + 1..at + 3))
            .flatten()
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match (bytes[at], escaped) {
            (_, Some(byte)) => {
                out.push(byte);
                at += 2;
            }
            (b'+', None) => out.push(b' '),
            (byte, None) => out.push(byte),
        }
        at += 1;
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Form;

    #[test]
    fn escapes_and_lists_are_decoded() {
        let form = Form::parse(
            "Action=X&Filter.1.Name=tag%3AEnv&Filter.1.Value.10=j&Filter.1.Value.2=a+b%2B%C3%BC&Odd=100%&Bad=%zz",
        );
        assert_eq!(form.action(), "X");
        assert_eq!(form.get("Filter.1.Name"), Some("tag:Env"));
        assert_eq!(form.list("Filter.1.Value"), ["a b+ü", "j"]);
        assert_eq!(form.get("Odd"), Some("100%"));
        assert_eq!(form.get("Bad"), Some("%zz"));
    }

    proptest! {
        #[test]
        fn what_was_encoded_comes_back(value in ".{0,20}", name in "[A-Za-z.0-9]{1,10}") {
            let encoded: String = value.bytes().flat_map(|byte| format!("%{byte:02X}").into_bytes()).map(char::from).collect();
            let form = Form::parse(&format!("{name}={encoded}"));
            prop_assert_eq!(form.get(&name), Some(value.as_str()));
        }

        #[test]
        fn no_body_makes_it_panic(body in ".{0,60}") {
            Form::parse(&body);
        }
    }
}
