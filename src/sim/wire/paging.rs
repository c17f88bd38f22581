//! Pages and the opaque tokens between them.
//!
//! A token is bound to its operation and to the request's other parameters, as with the real services: a client that
//! changes its filters between two pages is told so instead of getting a mixture.

use sha2::{Digest, Sha256};

/// A token that this server did not give for this request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BadToken;

/// Which request a token belongs to.
#[derive(Clone, Debug)]
pub(crate) struct TokenScope {
    text: String,
}

/// Whether a full page that is also the last one still ends with a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LastPage {
    /// The token leads to an empty page, as SSM does it (aws-ssm-facts 9.1).
    MayBeEmpty,
    /// There is no token.
    HasNoToken,
}

impl TokenScope {
    /// The scope of one request: the server's seed, the operation, and everything in the request but the page size and the
    /// token.
    pub(crate) fn new(seed: u64, operation: &str, parameters: &str) -> Self {
        Self { text: format!("{seed}\n{operation}\n{parameters}") }
    }

    fn token(&self, last: &str) -> String {
        let mut token = self.mac(last);
        token.push_str(&hex(last.as_bytes()));
        token
    }

    fn mac(&self, last: &str) -> String {
        let digest = Sha256::digest(format!("{}\n{last}", self.text).as_bytes());
        hex(&digest[..16])
    }

    fn last(&self, token: &str) -> Result<String, BadToken> {
        let (mac, position) = token.split_at_checked(32).ok_or(BadToken)?;
        let bytes = unhex(position).ok_or(BadToken)?;
        let last = String::from_utf8(bytes).map_err(|_| BadToken)?;
        if self.mac(&last) == mac { Ok(last) } else { Err(BadToken) }
    }

    /// The page of `items` after `token`, at most `size` long, and the token of the next page. `key` names an item.
    pub(crate) fn page<'a, T>(
        &self,
        items: &'a [T],
        key: impl Fn(&T) -> String,
        token: Option<&str>,
        size: usize,
        last_page: LastPage,
    ) -> Result<(&'a [T], Option<String>), BadToken> {
        let start = match token {
            None => 0,
            Some(token) => {
                let last = self.last(token)?;
                items.iter().position(|item| key(item) == last).ok_or(BadToken)? + 1
            }
        };
        let end = items.len().min(start + size);
        let page = &items[start..end];
        let more = match last_page {
            LastPage::MayBeEmpty => page.len() == size,
            LastPage::HasNoToken => end < items.len(),
        };
        let next = page.last().filter(|_| more).map(|item| self.token(&key(item)));
        Ok((page, next))
    }
}

/// Lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) {
        return None;
    }
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

    use proptest::prelude::*;

    use super::{BadToken, LastPage, TokenScope};

    fn walk(items: &[u32], size: usize, last_page: LastPage) -> Vec<Vec<u32>> {
        let scope = TokenScope::new(7, "List", "{}");
        let (mut pages, mut token) = (Vec::new(), None);
        loop {
            let (page, next) = scope.page(items, u32::to_string, token.as_deref(), size, last_page).unwrap();
            pages.push(page.to_vec());
            match next {
                Some(next) => token = Some(next),
                None => return pages,
            }
        }
    }

    #[test]
    fn pages_hold_every_item_once() {
        assert_eq!(walk(&[1, 2, 3, 4, 5], 2, LastPage::HasNoToken), [vec![1, 2], vec![3, 4], vec![5]]);
        assert_eq!(walk(&[1, 2, 3, 4], 2, LastPage::HasNoToken), [vec![1, 2], vec![3, 4]]);
        assert_eq!(walk(&[], 2, LastPage::HasNoToken), [Vec::<u32>::new()]);
    }

    #[test]
    fn a_full_last_page_is_followed_by_an_empty_one() {
        assert_eq!(walk(&[1, 2, 3, 4], 2, LastPage::MayBeEmpty), [vec![1, 2], vec![3, 4], vec![]]);
        assert_eq!(walk(&[1, 2, 3], 2, LastPage::MayBeEmpty), [vec![1, 2], vec![3]]);
    }

    #[test]
    fn a_token_serves_its_own_request_only() {
        let items = [1, 2, 3, 4];
        let scope = TokenScope::new(7, "List", "{}");
        let (_, next) = scope.page(&items, u32::to_string, None, 2, LastPage::MayBeEmpty).unwrap();
        let token = next.unwrap();
        for (scope, token) in [
            (TokenScope::new(7, "Other", "{}"), token.as_str()),
            (TokenScope::new(7, "List", "{\"a\":1}"), token.as_str()),
            (TokenScope::new(8, "List", "{}"), token.as_str()),
            (scope.clone(), "nonsense"),
            (scope.clone(), "é"),
            (scope.clone(), &token[..40.min(token.len() - 1)]),
        ] {
            assert_eq!(scope.page(&items, u32::to_string, Some(token), 2, LastPage::MayBeEmpty), Err(BadToken));
        }
    }

    proptest! {
        #[test]
        fn pages_are_the_list_cut_in_order(count in 0_u32..40, size in 1_usize..12) {
            let items: Vec<u32> = (0..count).collect();
            for last_page in [LastPage::MayBeEmpty, LastPage::HasNoToken] {
                let pages = walk(&items, size, last_page);
                prop_assert!(pages.iter().rev().skip(1).all(|page| page.len() == size));
                prop_assert_eq!(pages.concat(), items.clone());
            }
        }

        #[test]
        fn no_token_makes_it_panic(token in ".{0,80}") {
            let result = TokenScope::new(7, "List", "{}").page(&[1, 2], u32::to_string, Some(&token), 1, LastPage::MayBeEmpty);
            prop_assert_eq!(result, Err(BadToken));
        }
    }
}
