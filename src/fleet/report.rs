//! The text that a document prints on an instance, and its parser (decision D9).
//!
//! A report is ASCII, at most [`REPORT_LIMIT_BYTES`] long, one fact a line, words separated by one blank. The first line
//! names the format, the kind and the platform; the last line is `end`, so that a cut report is noticed.
//!
//! ```text
//! proxyfleet/1 observe amazon-linux-2
//! s docker active                       service: active | inactive | failed | absent
//! = 1 http://10.0.0.131:3128            the value table; values may hold blanks, userinfo is masked as ***
//! = 2 #<32 hex digits>                  a value too long for a report: head of the SHA-256 of its normal form
//! k docker HTTP_PROXY 1 1 -             setting: carrier, loaded, running; N value, ~N malformed, - unset,
//!                                       . not applicable, ? unknown
//! m docker HTTP_PROXY intact -          written by us: intact | changed, prior value N or - for none
//! f docker HTTP_PROXY overrides 1 PATH  another source: overrides | inert
//! b docker not-text PATH                the carrier cannot be edited, and why
//! end
//! ```
//!
//! A system that is not in the catalogue answers `proxyfleet/1 observe unsupported ID VERSION` and `end`.
//!
//! ```text
//! proxyfleet/1 apply amazon-linux-2 changed
//! w /etc/ecs/ecs.config HTTP_PROXY,NO_PROXY     keys written
//! x /etc/ecs/ecs.config HTTPS_PROXY             keys removed, or put back to what they were
//! r docker                                      service restarted
//! p docker                                      service whose restart is pending because the policy defers it
//! e text                                        detail of a refusal or failure
//! end
//! ```
//!
//! The word after the platform is `unchanged`, `changed`, or `refused`, `rolled-back` or `failed` and a reason.
