//! A small XML tree: read, changed, written back.
//!
//! Domain XML comes from people and from other hosts, so reading is bounded: size, depth, number
//! of elements, and no document type (the only place where entities can be declared, and with them
//! every "bomb"). Comments and processing instructions are dropped; everything else is kept in
//! order.

use quick_xml::Reader;
use quick_xml::escape::{escape, unescape};
use quick_xml::events::{BytesStart, Event};

/// Longest accepted document, in bytes. Real domain definitions have some kilobytes; libvirt's own
/// limit for one message is 4 MiB.
pub const BYTES_MAX: usize = 1 << 20;
/// Deepest accepted nesting. libvirt's schema ends far above.
const DEPTH_MAX: usize = 48;
/// Most elements accepted.
const ELEMENTS_MAX: usize = 20_000;

/// Why a text is not XML that can be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {problem}")]
pub struct XmlError {
    /// Counts from 1.
    pub line: usize,
    /// Counts from 1, in characters.
    pub column: usize,
    /// What is wrong there.
    pub problem: String,
}

/// What an element contains.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    /// Another element.
    Element(Element),
    /// Text, unescaped.
    Text(String),
}

/// An element with its names as they were written, prefix included.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Element {
    /// Its name.
    pub name: String,
    /// Its attributes in order, unescaped.
    pub attributes: Vec<(String, String)>,
    /// What it contains.
    pub children: Vec<Node>,
    /// Where it began in the document, in bytes.
    pub offset: usize,
}

/// Line and column (from 1) of a byte offset.
pub fn position(text: &str, offset: usize) -> (usize, usize) {
    let mut end = offset.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let before = &text[..end];
    let line = before.matches('\n').count() + 1;
    let start = before.rfind('\n').map_or(0, |at| at + 1);
    (line, before[start..].chars().count() + 1)
}

fn error(text: &str, offset: usize, problem: impl Into<String>) -> XmlError {
    let (line, column) = position(text, offset);
    XmlError {
        line,
        column,
        problem: problem.into(),
    }
}

/// Reads a document.
pub fn parse(text: &str) -> Result<Element, XmlError> {
    if text.len() > BYTES_MAX {
        let problem = format!(
            "the document has {} bytes; at most {BYTES_MAX} are read",
            text.len()
        );
        return Err(error(text, 0, problem));
    }
    let mut reader = Reader::from_str(text);
    let mut builder = Builder {
        text,
        open: Vec::new(),
        root: None,
        elements: 0,
    };
    loop {
        let offset = reader.buffer_position() as usize;
        let event = reader
            .read_event()
            .map_err(|e| error(text, reader.error_position() as usize, e.to_string()))?;
        if matches!(event, Event::Eof) {
            return builder.finish();
        }
        builder.take(event, offset)?;
    }
}

struct Builder<'a> {
    text: &'a str,
    open: Vec<Element>,
    root: Option<Element>,
    elements: usize,
}

impl Builder<'_> {
    fn take(&mut self, event: Event<'_>, offset: usize) -> Result<(), XmlError> {
        match event {
            Event::Start(start) => {
                let element = self.begin(&start, offset)?;
                self.open.push(element);
                if self.open.len() > DEPTH_MAX {
                    let problem = format!("elements are nested deeper than {DEPTH_MAX}");
                    return Err(error(self.text, offset, problem));
                }
            }
            Event::Empty(start) => {
                let element = self.begin(&start, offset)?;
                self.close(element, offset)?;
            }
            // The reader has checked that the names match.
            Event::End(_) => {
                if let Some(element) = self.open.pop() {
                    self.close(element, offset)?;
                }
            }
            Event::Text(text) => self.add_text(&text.xml10_content(), offset)?,
            Event::CData(text) => self.add_text(&text.xml10_content(), offset)?,
            Event::GeneralRef(reference) => {
                let written = format!("&{};", &*reference);
                let value =
                    unescape(&written).map_err(|e| error(self.text, offset, e.to_string()))?;
                self.add_text(&value, offset)?;
            }
            Event::DocType(_) => {
                let problem = "a document type is not accepted here; remove <!DOCTYPE …>";
                return Err(error(self.text, offset, problem));
            }
            Event::Comment(_) | Event::PI(_) | Event::Decl(_) | Event::Eof => {}
        }
        Ok(())
    }

    fn begin(&mut self, start: &BytesStart<'_>, offset: usize) -> Result<Element, XmlError> {
        self.elements += 1;
        if self.elements > ELEMENTS_MAX {
            let problem = format!("the document has more than {ELEMENTS_MAX} elements");
            return Err(error(self.text, offset, problem));
        }
        let mut attributes = Vec::new();
        for attribute in start.attributes() {
            let attribute = attribute.map_err(|e| error(self.text, offset, e.to_string()))?;
            let value = unescape(&attribute.value)
                .map_err(|e| error(self.text, offset, e.to_string()))?
                .into_owned();
            attributes.push((attribute.key.as_ref().to_owned(), value));
        }
        Ok(Element {
            name: start.name().as_ref().to_owned(),
            attributes,
            children: Vec::new(),
            offset,
        })
    }

    fn close(&mut self, element: Element, offset: usize) -> Result<(), XmlError> {
        match self.open.last_mut() {
            Some(parent) => parent.children.push(Node::Element(element)),
            None if self.root.is_none() => self.root = Some(element),
            None => {
                let problem = "a document has one outermost element; here begins another";
                return Err(error(self.text, offset, problem));
            }
        }
        Ok(())
    }

    fn add_text(&mut self, text: &str, offset: usize) -> Result<(), XmlError> {
        match self.open.last_mut() {
            Some(parent) => match parent.children.last_mut() {
                Some(Node::Text(last)) => last.push_str(text),
                _ => parent.children.push(Node::Text(text.to_owned())),
            },
            None if text.trim().is_empty() => {}
            None => return Err(error(self.text, offset, "text outside of any element")),
        }
        Ok(())
    }

    fn finish(self) -> Result<Element, XmlError> {
        let end = self.text.len();
        if let Some(open) = self.open.last() {
            let (line, _) = position(self.text, open.offset);
            let problem = format!("<{}> of line {line} is not closed", open.name);
            return Err(error(self.text, end, problem));
        }
        self.root
            .ok_or_else(|| error(self.text, end, "there is no element in it"))
    }
}

impl Element {
    /// An element without content.
    pub fn new(name: &str, attributes: &[(&str, &str)]) -> Self {
        let own = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        Self {
            name: name.to_owned(),
            attributes: attributes.iter().map(own).collect(),
            ..Self::default()
        }
    }

    /// The name without its prefix.
    pub fn local_name(&self) -> &str {
        self.name.rsplit(':').next().unwrap_or(&self.name)
    }

    /// An attribute's value.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        let found = self.attributes.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    }

    /// Sets an attribute if it is not there yet.
    pub fn default_attribute(&mut self, name: &str, value: &str) {
        if self.attribute(name).is_none() {
            self.attributes.push((name.to_owned(), value.to_owned()));
        }
    }

    /// All elements directly inside.
    pub fn elements(&self) -> impl Iterator<Item = &Element> {
        self.children.iter().filter_map(|node| match node {
            Node::Element(element) => Some(element),
            Node::Text(_) => None,
        })
    }

    /// The first element of that name directly inside.
    pub fn child(&self, name: &str) -> Option<&Element> {
        self.elements().find(|element| element.name == name)
    }

    /// Changes the first element of that name directly inside; makes it if it is not there.
    pub fn edit_child(&mut self, name: &str, edit: impl FnOnce(&mut Element)) {
        if let Some(element) = self.elements_mut().find(|element| element.name == name) {
            return edit(element);
        }
        let mut element = Element::new(name, &[]);
        edit(&mut element);
        self.children.push(Node::Element(element));
    }

    /// All elements directly inside, to be changed.
    pub fn elements_mut(&mut self) -> impl Iterator<Item = &mut Element> {
        self.children.iter_mut().filter_map(|node| match node {
            Node::Element(element) => Some(element),
            Node::Text(_) => None,
        })
    }

    /// Its text, without what is inside of inner elements and without surrounding white space.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for node in &self.children {
            if let Node::Text(part) = node {
                text.push_str(part);
            }
        }
        text.trim().to_owned()
    }

    /// The document as text.
    pub fn write(&self) -> String {
        let mut out = String::new();
        self.write_to(&mut out);
        out
    }

    // The recursion ends: DEPTH_MAX bounds what was read, and nothing adds more than two levels.
    fn write_to(&self, out: &mut String) {
        out.push('<');
        out.push_str(&self.name);
        for (key, value) in &self.attributes {
            out.push(' ');
            out.push_str(key);
            out.push_str("=\"");
            // A literal line break or tab in an attribute would be read back as a blank.
            let value = escape(value.as_str());
            let value = value.replace('\n', "&#10;").replace('\t', "&#9;");
            out.push_str(&value.replace('\r', "&#13;"));
            out.push('"');
        }
        if self.children.is_empty() {
            out.push_str("/>");
            return;
        }
        out.push('>');
        for node in &self.children {
            match node {
                Node::Element(element) => element.write_to(out),
                Node::Text(text) => out.push_str(&escape(text.as_str())),
            }
        }
        out.push_str("</");
        out.push_str(&self.name);
        out.push('>');
    }
}
