//! A plot of speeds, as an SVG file.
//!
//! Written by hand: a library for plots unifies features of numeric crates below Burn with its own, and the whole workspace
//! would be built a second time for it.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::train::Figure;

/// Colours that people who see few of them can tell apart (Okabe and Ito, "Color Universal Design", 2008).
const COLOURS: [&str; 5] = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9"];

/// Pixels of a bar, of the highest one, and around them.
const BAR: usize = 34;
const HEIGHT: f64 = 220.0;
const LEFT: usize = 20;
const TOP: usize = 50;

/// Writes a bar for each contender, in groups of one model and scheme, each as high as its share of the group's fastest.
pub(crate) fn bars(path: &Path, figures: &[&Figure]) -> Result<()> {
    fs::write(path, svg(figures)).with_context(|| format!("writing {}", path.display()))
}

fn svg(figures: &[&Figure]) -> String {
    let groups = unique(figures, group);
    let contenders = unique(figures, |figure| figure.contender.clone());
    let group_width = BAR * (contenders.len() + 1);
    let width = (2 * LEFT + groups.len() * group_width).max(2 * LEFT + 190 * contenders.len());
    let bottom = TOP as f64 + HEIGHT;
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{:.0}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n",
        bottom + 30.0
    );
    for (at, contender) in contenders.iter().enumerate() {
        let (x, colour) = (LEFT + 190 * at, COLOURS[at % COLOURS.len()]);
        let _ = writeln!(
            text,
            "<rect x=\"{x}\" y=\"12\" width=\"12\" height=\"12\" fill=\"{colour}\"/><text x=\"{}\" y=\"23\">{contender}</text>",
            x + 18
        );
    }
    for (at, name) in groups.iter().enumerate() {
        let of_group: Vec<_> = figures.iter().filter(|f| &group(f) == name).collect();
        let speeds = of_group.iter().map(|figure| figure.tokens_per_sec);
        let fastest = speeds.fold(f64::MIN_POSITIVE, f64::max);
        let first = LEFT + at * group_width;
        for (slot, contender) in contenders.iter().enumerate() {
            let Some(figure) = of_group.iter().find(|f| &f.contender == contender) else {
                continue;
            };
            let height = HEIGHT * figure.tokens_per_sec / fastest;
            let (x, colour) = (first + BAR * slot, COLOURS[slot % COLOURS.len()]);
            let _ = writeln!(
                text,
                "<rect x=\"{x}\" y=\"{:.1}\" width=\"{}\" height=\"{height:.1}\" fill=\"{colour}\"/>\
                 <text x=\"{}\" y=\"{:.1}\" text-anchor=\"middle\" font-size=\"10\">{:.0}</text>",
                bottom - height,
                BAR - 4,
                x + BAR / 2 - 2,
                bottom - height - 4.0,
                figure.tokens_per_sec
            );
        }
        let _ = writeln!(
            text,
            "<text x=\"{}\" y=\"{:.0}\" text-anchor=\"middle\">{name}</text>",
            first + BAR * contenders.len() / 2,
            bottom + 18.0
        );
    }
    text + "</svg>\n"
}

fn group(figure: &Figure) -> String {
    format!("{} {}", figure.model, figure.scheme)
}

/// The names of all figures in the order in which they come.
fn unique(figures: &[&Figure], name: impl Fn(&Figure) -> String) -> Vec<String> {
    let mut names = Vec::new();
    for figure in figures {
        let name = name(figure);
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fastest_of_a_group_is_highest() {
        let figure = |contender: &str, tokens_per_sec| Figure {
            model: "S".to_owned(),
            scheme: "angpt".to_owned(),
            contender: contender.to_owned(),
            tokens_per_sec,
            peak_rss_bytes: None,
            mfu: 0.5,
            rounds: 1,
            parameters: 1,
            step_seconds: Vec::new(),
        };
        let (fast, slow) = (figure("a", 400.0), figure("b", 100.0));
        let text = svg(&[&fast, &slow]);
        assert!(text.contains("height=\"220.0\" fill=\"#0072b2\""), "{text}");
        assert!(text.contains("height=\"55.0\" fill=\"#e69f00\""), "{text}");
    }
}
