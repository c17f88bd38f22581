//! Writes the XML of the query protocols.

/// A document being written. Element names are ours; texts are escaped.
#[derive(Debug)]
pub(crate) struct Xml(String);

impl Xml {
    /// An empty document with its declaration.
    pub(crate) fn new() -> Self {
        Self("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n".to_owned())
    }

    /// A start tag.
    pub(crate) fn open(&mut self, name: &str) -> &mut Self {
        self.0.push('<');
        self.0.push_str(name);
        self.0.push('>');
        self
    }

    /// A start tag with a namespace.
    pub(crate) fn open_with(&mut self, name: &str, namespace: &str) -> &mut Self {
        self.0.extend(["<", name, " xmlns=\"", namespace, "\">"]);
        self
    }

    /// An end tag.
    pub(crate) fn close(&mut self, name: &str) -> &mut Self {
        self.0.push_str("</");
        self.0.push_str(name);
        self.0.push('>');
        self
    }

    /// An element with text; an empty element where the text is empty.
    pub(crate) fn leaf(&mut self, name: &str, text: &str) -> &mut Self {
        if text.is_empty() {
            self.0.extend(["<", name, "/>"]);
            return self;
        }
        self.open(name);
        for character in text.chars() {
            match character {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                '\r' => self.0.push_str("&#13;"),
                other => self.0.push(other),
            }
        }
        self.close(name)
    }

    /// The text of the document.
    pub(crate) fn finish(self) -> String {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::Xml;

    #[test]
    fn texts_are_escaped() {
        let mut xml = Xml::new();
        xml.open("a").leaf("b", "x < y & \"z\" > w").leaf("c", "").close("a");
        let text = xml.finish();
        assert!(text.ends_with("<a><b>x &lt; y &amp; &quot;z&quot; &gt; w</b><c/></a>"), "{text}");
    }
}
