//! Rows under upper-case headers, columns three spaces apart: the look of kubectl. Cells come in as pieces,
//! one text goes out. Nothing is cut: a reader that is narrower wraps, and a pipe gets everything.

use super::page::{Piece, Style};
use super::terminal::Terminal;

/// Blanks between two columns.
const GAP: usize = 3;

/// A table.
#[derive(Debug, Default)]
pub struct Table {
    pub headers: Vec<&'static str>,
    /// How many of the headers, from the right, are for `-o wide` only.
    pub wide: usize,
    pub rows: Vec<Vec<Piece>>,
}

impl Table {
    /// The table as text; with `wide` all of its columns, with `headers` its first line.
    #[must_use]
    pub fn painted(&self, wide: bool, headers: bool, terminal: &Terminal) -> String {
        let columns = if wide { self.headers.len() } else { self.headers.len().saturating_sub(self.wide) };
        let header: Vec<Piece> =
            self.headers.iter().map(|it| Piece::from(*it).styled(Style::Strong)).collect();
        let lines: Vec<&Vec<Piece>> = headers.then_some(&header).into_iter().chain(&self.rows).collect();
        let length = |piece: &Piece| piece.shown(terminal).chars().count();
        let widths: Vec<usize> = (0..columns)
            .map(|column| lines.iter().filter_map(|row| row.get(column).map(length)).max().unwrap_or(0))
            .collect();
        let mut text = String::new();
        for row in lines {
            let mut blanks = 0;
            for (cell, width) in row.iter().zip(&widths) {
                let shown = length(cell);
                if shown > 0 {
                    text.extend(std::iter::repeat_n(' ', blanks));
                    text.push_str(&cell.painted(terminal));
                    blanks = 0;
                }
                blanks += width - shown + GAP;
            }
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::output::terminal::PIPE;

    fn table() -> Table {
        Table {
            headers: vec!["NAME", "STATE", "REASON"],
            wide: 1,
            rows: vec![
                vec!["a".into(), Piece::from("Proposed").styled(Style::Warn), "x".into()],
                vec!["long-name".into(), "é".into()],
                vec!["b\nc".into(), "".into(), "y".into()],
            ],
        }
    }

    #[test]
    fn a_table_lines_up_and_hides_its_wide_columns() {
        let narrow = table().painted(false, true, &PIPE);
        assert_eq!(narrow, "NAME        STATE\na           Proposed\nlong-name   é\nb\\nc\n");
        let wide = table().painted(true, true, &PIPE);
        assert!(wide.contains("Proposed   x\n") && wide.contains("b\\nc                   y\n"), "{wide}");
    }

    #[test]
    fn a_table_without_headers_is_only_as_wide_as_its_rows() {
        assert_eq!(table().painted(false, false, &PIPE), "a           Proposed\nlong-name   é\nb\\nc\n");
        let one =
            Table { headers: vec!["LONG HEADER", "B"], wide: 0, rows: vec![vec!["a".into(), "b".into()]] };
        assert_eq!(one.painted(false, false, &PIPE), "a   b\n");
    }

    #[test]
    fn colour_does_not_move_a_column() {
        let coloured = table().painted(true, true, &Terminal { colour: true, ..PIPE });
        assert!(coloured.contains("\u{1b}["), "{coloured:?}");
        let sgr = regex::Regex::new("\u{1b}\\[[0-9;]*m").unwrap();
        assert_eq!(sgr.replace_all(&coloured, ""), table().painted(true, true, &PIPE));
    }
}
