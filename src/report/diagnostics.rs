//! Mistakes in policy files, for people and for machines.

use std::collections::HashMap;

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use serde_json::{Value, json};

use super::layout::{count, paint, wrap_words};
use super::screen::role;
use crate::policy::{Diagnostic, Severity, SourceFile, masked_text};

/// Every mistake with its source line and a caret, and a last line that counts them.
///
/// Whatever looks like a credential in a source line is masked.
pub fn diagnostics_text(files: &[SourceFile], diagnostics: &[Diagnostic], width: usize) -> String {
    let masked: HashMap<&str, String> = files.iter().map(|file| (file.name.as_str(), masked_text(file))).collect();
    let renderer = Renderer::styled().decor_style(DecorStyle::Ascii).term_width(width.max(80));
    let mut out = String::new();
    for diagnostic in diagnostics {
        out.push_str(&renderer.render(&[group(diagnostic, &masked)]));
        out.push_str("\n\n");
    }
    out.push_str(&sum(files.len(), diagnostics));
    out
}

fn group<'a>(diagnostic: &'a Diagnostic, sources: &'a HashMap<&str, String>) -> Group<'a> {
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let mut group = level
        .primary_title(diagnostic.message.as_str())
        .id(diagnostic.code.as_str())
        .elements([] as [Snippet<'a, annotate_snippets::Annotation<'a>>; 0]);
    for (index, span) in diagnostic.spans.iter().enumerate() {
        let Some(source) = sources.get(span.file.as_str()) else { continue };
        let kind = if index == 0 { AnnotationKind::Primary } else { AnnotationKind::Context };
        let annotation = kind.span(span.range.clone()).label(span.label.as_str());
        group = group.element(Snippet::source(source.as_str()).path(span.file.as_str()).annotation(annotation));
    }
    match &diagnostic.help {
        Some(help) => group.element(Level::HELP.message(help.as_str())),
        None => group,
    }
}

fn sum(files: usize, diagnostics: &[Diagnostic]) -> String {
    let of = |severity| diagnostics.iter().filter(|diagnostic| diagnostic.severity == severity).count();
    let (errors, warnings) = (of(Severity::Error), of(Severity::Warning));
    let counts = format!("{}, {} in {}", count(errors, "error"), count(warnings, "warning"), count(files, "file"));
    paint(if errors > 0 { role::BAD } else { role::ATTENTION }, &format!("Policies: {counts}."))
}

/// What `validate` says when all is well.
pub fn validated_text(files: usize, policies: usize) -> String {
    let policies = if policies == 1 { "1 policy".to_owned() } else { format!("{policies} policies") };
    paint(role::GOOD, &format!("Policies: {policies} in {}, no mistakes.", count(files, "file")))
}

/// An error that ends a command, and what to do about it.
pub fn error_text(message: &str, remedy: Option<&str>, width: usize) -> String {
    let mut out = String::new();
    let mut lines = message.lines();
    wrap_words(&mut out, &paint(role::BAD, "error:"), lines.next().unwrap_or_default(), 2, width);
    for line in lines {
        wrap_words(&mut out, "  ", line, 4, width);
    }
    if let Some(remedy) = remedy {
        wrap_words(&mut out, &paint(role::HEADING, "hint:"), remedy, 2, width);
    }
    out
}

/// The same for machines, version 1.
pub fn diagnostics_json(files: usize, policies: usize, diagnostics: &[Diagnostic]) -> Value {
    let one = |diagnostic: &Diagnostic| {
        let spans: Vec<Value> = diagnostic
            .spans
            .iter()
            .map(|span| {
                json!({
                    "file": span.file,
                    "line": span.line,
                    "column": span.column,
                    "start_byte": span.range.start,
                    "end_byte": span.range.end,
                    "label": span.label,
                })
            })
            .collect();
        json!({
            "code": diagnostic.code.as_str(),
            "severity": match diagnostic.severity { Severity::Error => "error", Severity::Warning => "warning" },
            "message": diagnostic.message,
            "help": diagnostic.help,
            "spans": spans,
        })
    };
    json!({
        "format": "proxyfleet-diagnostics/1",
        "files": files,
        "policies": policies,
        "diagnostics": diagnostics.iter().map(one).collect::<Vec<_>>(),
    })
}
