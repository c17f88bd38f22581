//! What a proxy URL and a bypass entry may be: only what every program on every platform understands alike
//! (proxy-by-os G1, G2, 11.2, 11.3) and what is safe in a document parameter (12.3).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::mask::{excerpt, quoted};
use super::{Code, ProxyUrl};
use crate::catalog::DOCKER_SOCKET;

/// What is wrong with a value, and what would be right.
pub(super) struct Flaw {
    pub(super) code: Code,
    pub(super) message: String,
    pub(super) help: String,
}

fn flaw(code: Code, message: impl Into<String>, help: impl Into<String>) -> Flaw {
    Flaw { code, message: message.into(), help: help.into() }
}

/// Checks a proxy URL. The flaws may be warnings only, so there can be both a URL and flaws.
pub(super) fn check_url(text: &str, tls_to_proxy: bool) -> (Option<ProxyUrl>, Vec<Flaw>) {
    if text.contains('@') {
        // Nothing else is said about it: any further message might show a part of the password.
        let message = "the proxy URL has credentials, which would end in the history of commands";
        return (
            None,
            vec![flaw(
                Code::Credentials,
                message,
                "allow the instances at the proxy by their addresses, and write http://host:port",
            )],
        );
    }
    if text.trim().is_empty() || text.chars().any(|character| character.is_whitespace() || character.is_control()) {
        let message = format!("{} is not a URL", quoted(text));
        return (None, vec![flaw(Code::NotAUrl, message, "write http://host:port without blanks")]);
    }
    let Some((scheme, rest)) = text.split_once("://") else {
        let help = format!("write http://{}", excerpt(text));
        return (None, vec![flaw(Code::ProxyScheme, format!("{} has no scheme", quoted(text)), help)]);
    };
    let mut flaws = Vec::new();
    flaws.extend(check_scheme(scheme, rest, tls_to_proxy));
    let (authority, tail) = rest.split_at(rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len()));
    if !matches!(tail, "" | "/") {
        let message = format!("{} has more after host and port", quoted(text));
        flaws.push(flaw(Code::UrlPath, message, format!("leave out {}", quoted(tail))));
    }
    flaws.extend(check_authority(authority));
    let errors = flaws.iter().any(|flaw| flaw.code.severity() == super::Severity::Error);
    ((!errors).then(|| ProxyUrl::checked(text)), flaws)
}

fn check_scheme(scheme: &str, rest: &str, tls_to_proxy: bool) -> Option<Flaw> {
    let plain = format!("http://{}", excerpt(rest));
    match scheme {
        "http" => None,
        "https" if tls_to_proxy => None,
        "https" => Some(flaw(
            Code::TlsToProxy,
            "an https:// proxy URL asks for TLS to the proxy itself, which forward proxies rarely speak",
            format!("write {plain}, for https targets too; if this proxy really speaks TLS, add tls_to_proxy: true"),
        )),
        _ => Some(flaw(
            Code::ProxyScheme,
            format!("the scheme {} is not one that every program can use for a proxy", quoted(scheme)),
            format!("write {plain}"),
        )),
    }
}

fn check_authority(authority: &str) -> Vec<Flaw> {
    let (host, port) = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, "")) => (Host::Address(address), None),
        Some((address, port)) if port.starts_with(':') => (Host::Address(address), Some(&port[1..])),
        None if authority.matches(':').count() <= 1 => match authority.split_once(':') {
            Some((host, port)) => (Host::Name(host), Some(port)),
            None => (Host::Name(authority), None),
        },
        _ => {
            let message = format!("{} is not a host and a port", quoted(authority));
            return vec![flaw(Code::BadHost, message, "write an IPv6 address in brackets: http://[2001:db8::1]:3128")];
        }
    };
    check_host(&host).into_iter().chain(check_port(authority, port)).collect()
}

fn check_port(authority: &str, port: Option<&str>) -> Option<Flaw> {
    let Some(port) = port else {
        return Some(flaw(
            Code::MissingPort,
            "the proxy URL has no port: some programs would use 80, others 1080",
            format!("add the port, for example http://{}:3128", excerpt(authority)),
        ));
    };
    let digits = !port.is_empty() && !port.starts_with('0') && port.bytes().all(|byte| byte.is_ascii_digit());
    if digits && port.parse::<u16>().is_ok() {
        return None;
    }
    let help = "write a number from 1 to 65535, such as 3128, without leading zeros";
    Some(flaw(Code::BadPort, "the port of the proxy URL is not a number from 1 to 65535", help))
}

/// The host of a URL as it is written.
enum Host<'a> {
    Name(&'a str),
    /// In brackets.
    Address(&'a str),
}

fn check_host(host: &Host<'_>) -> Option<Flaw> {
    let address = match host {
        Host::Address(text) => {
            let Ok(address) = text.parse::<Ipv6Addr>() else {
                let message = format!("{} is not an IPv6 address", quoted(text));
                return Some(flaw(Code::BadHost, message, "write one such as http://[2001:db8::1]:3128"));
            };
            Some(IpAddr::V6(address))
        }
        Host::Name(text) => match check_name(text) {
            Ok(address) => address.map(IpAddr::V4),
            Err(why) => {
                let help = "write a host name of letters, digits, dots and dashes, or an address";
                return Some(flaw(Code::BadHost, format!("the proxy host {} {why}", quoted(text)), help));
            }
        },
    };
    let name = match host {
        Host::Name(text) | Host::Address(text) => text.to_ascii_lowercase(),
    };
    let link_local = match address {
        Some(IpAddr::V4(address)) => address.is_link_local(),
        Some(IpAddr::V6(address)) => {
            address.is_unicast_link_local() || address.to_ipv4_mapped().is_some_and(|address| address.is_link_local())
        }
        None => false,
    };
    if link_local {
        let message = format!(
            "the proxy host {} is a link-local address, where instance metadata and credentials are served",
            quoted(&name)
        );
        return Some(flaw(Code::LinkLocalProxy, message, "write the address of the proxy in the network"));
    }
    let loopback = address.is_some_and(|address| address.to_canonical().is_loopback() || address.is_unspecified());
    if loopback || name == "localhost" || name.ends_with(".localhost") {
        let message = format!("the proxy host {} is the instance itself", quoted(&name));
        let help = "write the proxy's address in the network, unless every instance runs a proxy of its own";
        return Some(flaw(Code::LoopbackProxy, message, help));
    }
    None
}

/// Checks a host name without its dot in front; gives the address where it is an IPv4 address.
fn check_name(name: &str) -> Result<Option<Ipv4Addr>, &'static str> {
    const LONGEST: usize = 253;
    if name.is_empty() {
        return Err("is empty");
    }
    if name.len() > LONGEST {
        return Err("has more than 253 characters");
    }
    if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-')) {
        return Err("has characters other than letters, digits, dots and dashes");
    }
    if name.split('.').any(|label| label.is_empty() || label.len() > 63) {
        return Err("has a part that is empty or longer than 63 characters");
    }
    if name.split('.').any(|label| label.starts_with('-') || label.ends_with('-')) {
        return Err("has a part that starts or ends with a dash");
    }
    // A last part of digits alone is an address to every resolver; shortened forms such as 10.1 mean different things.
    if name.rsplit('.').next().is_some_and(|label| label.bytes().all(|byte| byte.is_ascii_digit())) {
        return name.parse().map(Some).map_err(|_| "is not a complete IPv4 address");
    }
    Ok(None)
}

/// Checks one entry of `no_proxy`: a host name, a suffix with a dot in front, or an address.
pub(super) fn check_bypass(entry: &str) -> Option<Flaw> {
    let shown = quoted(entry);
    if entry == DOCKER_SOCKET {
        let message = "the docker socket is always added where a program asks for it";
        return Some(flaw(Code::BypassSocket, message, "take it out"));
    }
    if entry.contains('@') {
        let message = "the entry of no_proxy has credentials";
        return Some(flaw(Code::Credentials, message, "write the host name alone"));
    }
    if let Some((_, rest)) = entry.split_once("://") {
        let host = rest.split(['/', ':']).next().unwrap_or_default();
        return Some(flaw(
            Code::BypassScheme,
            format!("{shown} is a URL; no_proxy names hosts"),
            format!("write {}", quoted(host)),
        ));
    }
    if entry == "*" {
        let help = "to use no proxy at all, write a policy with state: absent";
        return Some(flaw(Code::BypassEverything, "`*` in no_proxy switches the proxy off for every host", help));
    }
    if entry.contains([' ', '\t', '\n', ';', ',']) {
        let message = format!("{shown} is not one host: programs disagree on blanks, `;` and `,`");
        return Some(flaw(Code::BypassSeparator, message, "write each host as an item of its own: [first, second]"));
    }
    if entry.contains(['*', '?']) {
        let help = match entry.strip_prefix("*.") {
            Some(rest) if !rest.contains(['*', '?']) => {
                format!("write `.{}`, which means every host below it", excerpt(rest))
            }
            _ => "write host names, or a suffix with a dot in front".to_owned(),
        };
        return Some(flaw(
            Code::BypassWildcard,
            format!("wildcards such as in {shown} match nothing in most programs"),
            help,
        ));
    }
    if let Some(inner) = entry.strip_prefix('[') {
        let inner = inner.split(']').next().unwrap_or_default();
        let message = format!("{shown} is in brackets, which no program honours without a port and few with one");
        return Some(flaw(Code::BypassBrackets, message, format!("write {}", quoted(inner))));
    }
    check_bypass_host(entry, &shown)
}

fn check_bypass_host(entry: &str, shown: &str) -> Option<Flaw> {
    if entry.parse::<Ipv6Addr>().is_ok() {
        return None;
    }
    if let Some((network, _)) = entry.split_once('/')
        && (network.parse::<IpAddr>().is_ok() || network.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.'))
        && !network.is_empty()
    {
        let message = format!("the network {shown} does nothing for host names, and some programs ignore it");
        return Some(flaw(
            Code::BypassNetwork,
            message,
            "write the addresses one by one, or a domain suffix such as .corp.example.com",
        ));
    }
    if let Some((host, port)) = entry.split_once(':')
        && !host.is_empty()
        && !port.is_empty()
        && port.bytes().all(|byte| byte.is_ascii_digit())
    {
        let message = format!("the port in {shown} makes some programs ignore the entry");
        return Some(flaw(Code::BypassPort, message, format!("write {}, which covers every port", quoted(host))));
    }
    // The names of services inside may have underscores, unlike those of proxies.
    let name = entry.strip_prefix('.').unwrap_or(entry);
    let why = match check_name(&name.replace('_', "x")) {
        Ok(Some(_)) if entry.starts_with('.') => "is an address with a dot in front",
        Ok(_) => return None,
        Err(why) => why,
    };
    let help = "write a host name, a suffix with a dot in front such as .corp.example.com, or an address";
    Some(flaw(Code::BypassNotAHost, format!("the entry {shown} {why}"), help))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::catalog::{is_no_proxy, is_proxy_url};

    fn url_codes(text: &str, tls: bool) -> Vec<Code> {
        check_url(text, tls).1.into_iter().map(|flaw| flaw.code).collect()
    }

    #[test]
    fn urls_that_every_program_understands_are_accepted() {
        for text in [
            "http://10.0.0.131:3128",
            "http://10.0.0.131:3128/",
            "http://proxy.corp.example.com:8080",
            "http://PROXY:1",
            "http://proxy-1:65535",
            "http://[2001:db8::1]:3128",
            "http://[::ffff:10.0.0.1]:3128",
        ] {
            assert!(url_codes(text, false).is_empty(), "{text}: {:?}", url_codes(text, false));
        }
        assert!(url_codes("https://proxy:3128", true).is_empty());
    }

    #[test]
    fn each_flaw_of_a_url_has_its_code() {
        for (text, codes) in [
            ("", vec![Code::NotAUrl]),
            ("http://pro xy:1", vec![Code::NotAUrl]),
            (" http://proxy:1", vec![Code::NotAUrl]),
            ("http://proxy:1\n", vec![Code::NotAUrl]),
            ("proxy:3128", vec![Code::ProxyScheme]),
            ("socks5://proxy:1080", vec![Code::ProxyScheme]),
            ("HTTP://proxy:3128", vec![Code::ProxyScheme]),
            ("https://proxy:3128", vec![Code::TlsToProxy]),
            ("https://proxy", vec![Code::TlsToProxy, Code::MissingPort]),
            ("http://u:p@proxy:3128", vec![Code::Credentials]),
            ("http://@proxy", vec![Code::Credentials]),
            ("u:p@proxy:3128", vec![Code::Credentials]),
            ("http://proxy", vec![Code::MissingPort]),
            ("http://[::2]", vec![Code::MissingPort]),
            ("http://proxy:", vec![Code::BadPort]),
            ("http://proxy:0", vec![Code::BadPort]),
            ("http://proxy:+80", vec![Code::BadPort]),
            ("http://proxy:080", vec![Code::BadPort]),
            ("http://proxy:65536", vec![Code::BadPort]),
            ("http://proxy:http", vec![Code::BadPort]),
            ("http://[::2]3128", vec![Code::BadHost]),
            ("http://proxy:3128/path", vec![Code::UrlPath]),
            ("http://proxy:3128?a", vec![Code::UrlPath]),
            ("http://proxy:3128#a", vec![Code::UrlPath]),
            ("http://proxy:3128//", vec![Code::UrlPath]),
            ("http://:3128", vec![Code::BadHost]),
            ("http://pro$xy:3128", vec![Code::BadHost]),
            ("http://pröxy:3128", vec![Code::BadHost]),
            ("http://{{ssm:x}}:3128", vec![Code::BadHost]),
            ("http://my_proxy:3128", vec![Code::BadHost]),
            ("http://-proxy:3128", vec![Code::BadHost]),
            ("http://proxy..corp:3128", vec![Code::BadHost]),
            ("http://proxy.:3128", vec![Code::BadHost]),
            ("http://10.0.0.300:3128", vec![Code::BadHost]),
            ("http://10.1:3128", vec![Code::BadHost]),
            ("http://[10.0.0.1]:3128", vec![Code::BadHost]),
            ("http://[fe80::1%eth0]:3128", vec![Code::BadHost]),
            ("http://2001:db8::1:3128", vec![Code::BadHost]),
            ("http://localhost:3128", vec![Code::LoopbackProxy]),
            ("http://127.0.0.2:3128", vec![Code::LoopbackProxy]),
            ("http://0.0.0.0:3128", vec![Code::LoopbackProxy]),
            ("http://[::1]:3128", vec![Code::LoopbackProxy]),
            ("http://169.254.1.1:3128", vec![Code::LinkLocalProxy]),
            ("http://[fe80::1]:3128", vec![Code::LinkLocalProxy]),
            ("http://[::ffff:169.254.169.254]:3128", vec![Code::LinkLocalProxy]),
        ] {
            assert_eq!(url_codes(text, false), codes, "{text}");
        }
    }

    #[test]
    fn no_flaw_of_a_url_with_credentials_tells_them() {
        for text in
            ["http://user:secret@proxy:3128", "user:secret@h", "https://user:sec/ret@h/secret?secret", "http://secret@"]
        {
            for flaw in check_url(text, false).1.into_iter().chain(check_bypass(text)) {
                assert!(
                    !flaw.message.contains("secret") && !flaw.help.contains("secret"),
                    "{text}: {} {}",
                    flaw.message,
                    flaw.help
                );
            }
        }
    }

    #[test]
    fn bypass_entries_that_every_program_honours_are_accepted() {
        for entry in [
            "localhost",
            "10.0.0.15",
            "fd00:ec2::254",
            "::1",
            ".internal.example.com",
            "example.com",
            "a_b.internal",
            "169.254.169.254",
            "registry-1",
        ] {
            assert!(check_bypass(entry).is_none(), "{entry}");
        }
    }

    #[test]
    fn each_flaw_of_a_bypass_entry_has_its_code() {
        for (entry, code) in [
            ("10.0.0.0/8", Code::BypassNetwork),
            ("10.0/16", Code::BypassNetwork),
            ("fd00::/8", Code::BypassNetwork),
            ("*", Code::BypassEverything),
            ("*.example.com", Code::BypassWildcard),
            ("a-*.example.com", Code::BypassWildcard),
            ("[fd00:ec2::254]", Code::BypassBrackets),
            ("[fd00:ec2::254]:80", Code::BypassBrackets),
            ("example.com:443", Code::BypassPort),
            ("10.0.0.15:80", Code::BypassPort),
            ("a.com,b.com", Code::BypassSeparator),
            ("a.com b.com", Code::BypassSeparator),
            ("a.com;b.com", Code::BypassSeparator),
            (" a.com", Code::BypassSeparator),
            ("http://a.com", Code::BypassScheme),
            ("/var/run/docker.sock", Code::BypassSocket),
            ("user:secret@a.com", Code::Credentials),
            ("", Code::BypassNotAHost),
            (".", Code::BypassNotAHost),
            ("..a", Code::BypassNotAHost),
            ("a.com.", Code::BypassNotAHost),
            ("10.0.0.300", Code::BypassNotAHost),
            ("10.0.", Code::BypassNotAHost),
            (".10.0.0.1", Code::BypassNotAHost),
            ("a/b", Code::BypassNotAHost),
            ("/8", Code::BypassNotAHost),
            ("$(id)", Code::BypassNotAHost),
            ("a.com:https", Code::BypassNotAHost),
            ("\\\\.\\pipe\\docker_engine", Code::BypassNotAHost),
            ("exämple.com", Code::BypassNotAHost),
        ] {
            assert_eq!(check_bypass(entry).map(|flaw| flaw.code), Some(code), "{entry:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_accepted_fits_the_parameters(
            url in "(http|https|ftp)://[a-z0-9.:\\[\\]$ -]{0,12}(:[0-9]{1,6})?/?",
            entry in "[.*\\[]?[a-z0-9._:/ ;-]{0,16}\\]?",
        ) {
            if let (Some(url), _) = check_url(&url, true) {
                prop_assert!(is_proxy_url(url.as_str()), "{url}");
            }
            if check_bypass(&entry).is_none() {
                prop_assert!(is_no_proxy(&entry) && !entry.contains(','), "{entry}");
            }
        }
    }
}
