//! Coloured text whose width is known, and tables.
//!
//! Everything is drawn with colours; the stream it is printed to takes them out where they are not
//! wanted (`NO_COLOR`, not a terminal).

use anstyle::{AnsiColor, Color, Style};
use comfy_table::{Cell, CellAlignment, ContentArrangement, Table, presets};
use holdfast_model::host::Membership;
use holdfast_model::status::{Severity, SiteState, VmState};

/// Width where the output is no terminal.
const WIDTH: usize = 100;
/// Narrower terminals are drawn on as if they had this.
const WIDTH_MIN: usize = 60;

/// What a colour means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// As it is.
    Plain,
    /// Less important.
    Dim,
    /// A heading.
    Bold,
    /// Well.
    Good,
    /// On its way.
    Busy,
    /// Not well.
    Warn,
    /// Bad.
    Bad,
}

impl Tone {
    fn style(self) -> Style {
        let colour = |colour: AnsiColor| Style::new().fg_color(Some(Color::Ansi(colour)));
        match self {
            Self::Plain => Style::new(),
            Self::Dim => Style::new().dimmed(),
            Self::Bold => Style::new().bold(),
            Self::Good => colour(AnsiColor::Green),
            Self::Busy => colour(AnsiColor::Cyan),
            Self::Warn => colour(AnsiColor::Yellow),
            Self::Bad => colour(AnsiColor::Red).bold(),
        }
    }

    /// Of a host.
    pub fn of_host(state: Option<Membership>) -> Self {
        match state {
            Some(Membership::Online) => Self::Good,
            Some(Membership::Rejoining | Membership::Maintenance) => Self::Busy,
            Some(Membership::Suspect | Membership::Isolated) => Self::Warn,
            Some(Membership::Fenced) => Self::Bad,
            None => Self::Dim,
        }
    }

    /// Of a site.
    pub fn of_site(state: SiteState) -> Self {
        match state {
            SiteState::Online => Self::Good,
            SiteState::Rejoining => Self::Busy,
            SiteState::Degraded => Self::Warn,
            SiteState::Lost => Self::Bad,
            SiteState::Empty => Self::Dim,
        }
    }

    /// Of a VM.
    pub fn of_vm(state: VmState) -> Self {
        match state {
            VmState::Running => Self::Good,
            VmState::Starting | VmState::Migrating | VmState::Stopping => Self::Busy,
            VmState::Paused | VmState::Unknown => Self::Warn,
            VmState::Waiting => Self::Bad,
            VmState::Stopped => Self::Dim,
        }
    }

    /// Of a condition.
    pub fn of_severity(severity: Severity) -> Self {
        match severity {
            Severity::Info => Self::Dim,
            Severity::Warning => Self::Warn,
            Severity::Critical => Self::Bad,
        }
    }
}

/// One line of coloured pieces.
#[derive(Debug, Clone, Default)]
pub struct Line(Vec<(Tone, String)>);

impl Line {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a piece.
    pub fn add(mut self, tone: Tone, text: impl Into<String>) -> Self {
        self.0.push((tone, text.into()));
        self
    }

    /// Adds a plain piece.
    pub fn text(self, text: impl Into<String>) -> Self {
        self.add(Tone::Plain, text)
    }

    /// Columns it takes. Names and reasons are mostly ASCII; wide characters count as one.
    pub fn width(&self) -> usize {
        self.0.iter().map(|(_, text)| text.chars().count()).sum()
    }

    /// Cut or filled to exactly this many columns.
    pub fn fit(mut self, width: usize) -> Self {
        let mut left = width;
        let cut = self.width() > width;
        if cut {
            left = left.saturating_sub(1);
        }
        let mut kept = Vec::new();
        for (tone, text) in self.0.drain(..) {
            let piece: String = text.chars().take(left).collect();
            left -= piece.chars().count();
            kept.push((tone, piece));
        }
        self.0 = kept;
        if cut && width > 0 {
            return self.text("…");
        }
        let fill = " ".repeat(left);
        self.text(fill)
    }

    /// With its colours, without blanks at its end.
    pub fn draw(&self) -> String {
        let mut line = self.clone();
        while let Some((_, text)) = line.0.last_mut() {
            text.truncate(text.trim_end().len());
            if !text.is_empty() {
                break;
            }
            line.0.pop();
        }
        line.draw_whole()
    }

    /// Without colours.
    pub fn plain(&self) -> String {
        self.0.iter().map(|(_, text)| text.as_str()).collect()
    }

    /// With its colours and all its blanks.
    fn draw_whole(&self) -> String {
        let pieces = self.0.iter().map(|(tone, text)| {
            let style = tone.style();
            format!("{style}{text}{style:#}")
        });
        pieces.collect()
    }
}

/// Columns to draw on.
pub fn width() -> usize {
    let columns = std::env::var("COLUMNS")
        .ok()
        .and_then(|text| text.parse().ok());
    let terminal = Table::new().width().map(usize::from);
    terminal.or(columns).unwrap_or(WIDTH).max(WIDTH_MIN)
}

/// Text broken into lines of this width at most; words longer than that are left whole. Each line
/// but the first begins with blanks. Without a terminal nothing is broken: lines are for programs.
pub fn wrapped(text: &str, first: usize, indent: usize) -> String {
    if !Table::new().is_tty() {
        return text.to_owned();
    }
    wrap(text, first, indent, width())
}

fn wrap(text: &str, first: usize, indent: usize, width: usize) -> String {
    let mut out = String::new();
    let mut at = first;
    for word in text.split(' ') {
        let length = word.chars().count();
        if at > indent && at > first && at + 1 + length > width {
            out += "\n";
            out += &" ".repeat(indent);
            at = indent;
        } else if at > first {
            out += " ";
            at += 1;
        }
        out += word;
        at += length;
    }
    out
}

/// A box with a title.
pub fn boxed(title: Line, lines: &[Line], width: usize) -> Vec<String> {
    let inner = width.saturating_sub(4);
    let title = title.fit_up_to(inner.saturating_sub(2));
    let rule = "─".repeat(inner.saturating_sub(title.width() + 1));
    let mut out = vec![format!("┌─ {} {rule}┐", title.draw_whole())];
    for line in lines {
        out.push(format!("│ {} │", line.clone().fit(inner).draw_whole()));
    }
    out.push(format!("└{}┘", "─".repeat(inner + 2)));
    out
}

impl Line {
    fn fit_up_to(self, width: usize) -> Self {
        let width = self.width().min(width);
        self.fit(width)
    }
}

/// A table of coloured cells without rules. On a terminal the last column is wrapped into what is
/// left of its width.
pub fn table(heads: &[&str], rows: Vec<Vec<(Tone, String)>>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).enforce_styling();
    table.style_text_only();
    if table.is_tty() {
        table.set_content_arrangement(ContentArrangement::Dynamic);
    }
    let head = |text: &&str| cell(Tone::Dim, (*text).to_owned());
    table.set_header(heads.iter().map(head).collect::<Vec<_>>());
    for row in rows {
        table.add_row(
            row.into_iter()
                .map(|(tone, text)| cell(tone, text))
                .collect::<Vec<_>>(),
        );
    }
    for (index, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, 2));
        column.set_cell_alignment(CellAlignment::Left);
        if index + 1 < heads.len() {
            column.set_constraint(comfy_table::ColumnConstraint::ContentWidth);
        }
    }
    let text = table.to_string();
    text.lines()
        .map(|line| line.trim_end().to_owned() + "\n")
        .collect()
}

fn cell(tone: Tone, text: String) -> Cell {
    use comfy_table::{Attribute, Color as Hue};
    let cell = Cell::new(text);
    match tone {
        Tone::Plain => cell,
        Tone::Dim => cell.add_attribute(Attribute::Dim),
        Tone::Bold => cell.add_attribute(Attribute::Bold),
        Tone::Good => cell.fg(Hue::DarkGreen),
        Tone::Busy => cell.fg(Hue::DarkCyan),
        Tone::Warn => cell.fg(Hue::DarkYellow),
        Tone::Bad => cell.fg(Hue::DarkRed).add_attribute(Attribute::Bold),
    }
}

/// Milliseconds as seconds.
pub fn seconds(ms: u64) -> String {
    match ms {
        0..10_000 => format!("{:.2} s", ms as f64 / 1000.0),
        10_000..120_000 => format!("{:.1} s", ms as f64 / 1000.0),
        _ => format!("{} min {} s", ms / 60_000, ms / 1000 % 60),
    }
}

/// Used and whole memory, given in MiB, in GiB.
pub fn memory((used_mib, total_mib): (u64, u64)) -> String {
    let gib = |mib: u64| mib as f64 / 1024.0;
    format!("{:.1}/{:.1}G", gib(used_mib), gib(total_mib))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bare(text: &str) -> String {
        anstream::adapter::strip_str(text).to_string()
    }

    #[test]
    fn a_line_is_cut_and_filled_to_a_width() {
        let line = || Line::new().add(Tone::Good, "abc").text("def");
        assert_eq!(bare(&line().fit(8).draw_whole()), "abcdef  ");
        assert_eq!(bare(&line().fit(6).draw_whole()), "abcdef");
        assert_eq!(bare(&line().fit(4).draw_whole()), "abc…");
        assert_eq!(line().fit(0).width(), 0);
    }

    #[test]
    fn text_is_broken_between_words() {
        assert_eq!(wrap("aa bb cc dd", 2, 4, 9), "aa bb\n    cc dd");
        assert_eq!(wrap("unbreakable", 2, 4, 6), "unbreakable");
        assert_eq!(wrap("", 2, 4, 6), "");
    }

    #[test]
    fn boxes_close_whatever_is_in_them() {
        let lines = [Line::new().text("x".repeat(50)), Line::new().text("y")];
        let title = Line::new().text("a title that is far too long for it");
        let drawn: Vec<String> = boxed(title, &lines, 20).iter().map(|l| bare(l)).collect();
        for line in &drawn {
            assert_eq!(line.chars().count(), 20, "{line}");
        }
        assert_eq!(drawn[2], "│ y                │");
    }

    #[test]
    fn a_table_has_no_blanks_at_line_ends() {
        let rows = vec![vec![
            (Tone::Good, "a".to_owned()),
            (Tone::Plain, "b".to_owned()),
        ]];
        let drawn = bare(&table(&["NAME", "X"], rows));
        assert_eq!(drawn, "NAME  X\na     b\n");
    }
}
