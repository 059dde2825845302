//! What the dashboard shows, and how it is drawn.

use std::time::{Duration, Instant};

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Style, Stylize};
use ratatui::symbols::Marker;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Axis, Block, Chart, Dataset, Gauge, GraphType, Paragraph, Tabs};

use super::points::Points;
use evenburn_train::clock;

/// What a figure is measured on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Training,
    Validation,
}

impl Part {
    const BOTH: [Self; 2] = [Self::Training, Self::Validation];

    fn name(self) -> &'static str {
        match self {
            Self::Training => "Train",
            Self::Validation => "Valid",
        }
    }

    fn color(self) -> Color {
        match self {
            Self::Training => Color::LightRed,
            Self::Validation => Color::LightBlue,
        }
    }
}

/// A figure with its newest value and its curve, on each part.
#[derive(Debug, Default)]
struct Row {
    name: String,
    texts: [Option<String>; 2],
    points: [Points; 2],
}

/// Everything that is shown.
#[derive(Debug, Default)]
pub(crate) struct Board {
    name: String,
    step: u64,
    total: u64,
    /// When this launch began, and at which step.
    began: Option<(Instant, u64)>,
    rows: Vec<Row>,
    /// The figure whose curve is drawn.
    selected: usize,
    recent: bool,
    stopping: bool,
}

impl Board {
    pub(crate) fn name(&mut self, name: &str) {
        name.clone_into(&mut self.name);
    }

    /// Adds a figure; the same one may be added for each part.
    pub(crate) fn add(&mut self, name: &str) {
        if !self.rows.iter().any(|row| row.name == name) {
            self.rows.push(Row {
                name: name.to_owned(),
                ..Row::default()
            });
        }
    }

    pub(crate) fn progress(&mut self, step: u64, total: u64) {
        self.began.get_or_insert_with(|| (Instant::now(), step));
        (self.step, self.total) = (step, total);
    }

    /// Takes a figure's newest value. burn-train sends those of a step before it counts the step.
    pub(crate) fn update(&mut self, part: Part, name: &str, text: &str, value: Option<f64>) {
        let step = match part {
            Part::Training => self.step + 1,
            Part::Validation => self.step,
        };
        if let Some(row) = self.rows.iter_mut().find(|row| row.name == name) {
            row.texts[part as usize] = Some(text.to_owned());
            if let Some(value) = value {
                row.points[part as usize].push(step, value);
            }
        }
    }

    /// Draws the curve of the next figure, or of the one before.
    pub(super) fn select(&mut self, forward: bool) {
        let count = self.rows.len().max(1);
        let by = if forward { 1 } else { count - 1 };
        self.selected = (self.selected + by) % count;
    }

    /// Draws the newest part of the curve, or all of it.
    pub(super) fn look_at(&mut self, recent: bool) {
        self.recent = recent;
    }

    pub(super) fn stop(&mut self) {
        self.stopping = true;
    }

    fn left(&self) -> Option<Duration> {
        let (since, first) = self.began?;
        let done = self.step.checked_sub(first).filter(|done| *done > 0)?;
        let seconds = since.elapsed().as_secs_f64() / done as f64;
        let left = self.total.saturating_sub(self.step) as f64;
        Duration::try_from_secs_f64(seconds * left).ok()
    }

    pub(super) fn draw(&self, frame: &mut Frame<'_>) {
        let [upper, lower] =
            Layout::vertical([Constraint::Min(0), Constraint::Length(3)]).areas(frame.area());
        let [side, plot] =
            Layout::horizontal([Constraint::Percentage(35), Constraint::Min(0)]).areas(upper);
        let [status, figures, keys] = Layout::vertical([
            Constraint::Length(5),
            Constraint::Min(0),
            Constraint::Length(5),
        ])
        .areas(side);
        self.draw_status(frame, status);
        self.draw_figures(frame, figures);
        draw_keys(frame, keys);
        self.draw_plot(frame, plot);
        self.draw_progress(frame, lower);
    }

    fn draw_status(&self, frame: &mut Frame<'_>, area: Rect) {
        let left = self.left().map_or_else(|| "-".to_owned(), clock);
        let state = if self.stopping {
            "stopping after this step, with a checkpoint"
        } else {
            "training"
        };
        let lines = [
            pair("Step", &format!("{}/{}", self.step, self.total)),
            pair("Time left", &left),
            pair("State", state),
        ];
        let block = Block::bordered().title(format!("Run: {} ", self.name));
        frame.render_widget(Paragraph::new(lines.to_vec()).block(block), area);
    }

    fn draw_figures(&self, frame: &mut Frame<'_>, area: Rect) {
        let mut lines = Vec::new();
        for row in &self.rows {
            if !lines.is_empty() {
                lines.push(Line::default());
            }
            lines.push(Line::from(format!(" {}", row.name)).bold());
            for (part, text) in Part::BOTH.into_iter().zip(&row.texts) {
                if let Some(text) = text {
                    let name = Span::from(format!(" {} ", part.name())).fg(part.color());
                    lines.push(Line::from(vec![name, Span::from(text.as_str())]));
                }
            }
        }
        let block = Block::bordered().title("Figures");
        frame.render_widget(Paragraph::new(lines).block(block), area);
    }

    fn draw_plot(&self, frame: &mut Frame<'_>, area: Rect) {
        let title = if self.recent {
            "Newest steps"
        } else {
            "All steps"
        };
        let block = Block::bordered().title(title);
        let inside = block.inner(area);
        frame.render_widget(block, area);
        let [names, chart] =
            Layout::vertical([Constraint::Length(1), Constraint::Min(0)]).areas(inside);
        let tabs = Tabs::new(self.rows.iter().map(|row| row.name.as_str()))
            .select(self.selected)
            .highlight_style(Style::new().bold().yellow());
        frame.render_widget(tabs, names);
        let Some(row) = self.rows.get(self.selected) else {
            return;
        };
        let curves = row.points.each_ref().map(|points| points.get(self.recent));
        let (x, y) = (
            bounds(&curves, |point| point.0),
            bounds(&curves, |point| point.1),
        );
        let curve = |part: Part| {
            Dataset::default()
                .name(part.name())
                .marker(Marker::Braille)
                .graph_type(GraphType::Line)
                .style(Style::new().fg(part.color()))
                .data(&curves[part as usize])
        };
        let drawn = Part::BOTH
            .into_iter()
            .filter(|part| !curves[*part as usize].is_empty());
        let ends = |[low, high]: [f64; 2], digits| [low, high].map(|end| number(end, digits));
        let axis = |bounds, digits| {
            Axis::default()
                .style(Style::new().dim())
                .bounds(bounds)
                .labels(ends(bounds, digits))
        };
        let chart_widget = Chart::new(drawn.map(curve).collect())
            .x_axis(axis(x, 0))
            .y_axis(axis(y, 4));
        frame.render_widget(chart_widget, chart);
    }

    fn draw_progress(&self, frame: &mut Frame<'_>, area: Rect) {
        let ratio = if self.total == 0 {
            0.0
        } else {
            (self.step as f64 / self.total as f64).clamp(0.0, 1.0)
        };
        let gauge = Gauge::default()
            .block(Block::bordered().title("Progress"))
            .gauge_style(Style::new().fg(Color::Yellow))
            .ratio(ratio)
            .label(format!("{:.0} %", 100.0 * ratio));
        frame.render_widget(gauge, area);
    }
}

fn draw_keys(frame: &mut Frame<'_>, area: Rect) {
    let lines = vec![
        pair("q, Ctrl-C", "stop, with a checkpoint"),
        pair("left, right", "another figure"),
        pair("up, down", "newest steps, all steps"),
    ];
    let block = Block::bordered().title("Keys");
    frame.render_widget(Paragraph::new(lines).block(block), area);
}

fn pair(name: &str, value: &str) -> Line<'static> {
    let name = Span::from(format!(" {name:<11} ")).bold().yellow();
    Line::from(vec![name, Span::from(value.to_owned())])
}

/// The smallest and the largest coordinate, apart from each other.
fn bounds(curves: &[Vec<(f64, f64)>], of: impl Fn(&(f64, f64)) -> f64) -> [f64; 2] {
    let all = || curves.iter().flatten().map(&of);
    let (low, high) = (
        all().fold(f64::INFINITY, f64::min),
        all().fold(f64::NEG_INFINITY, f64::max),
    );
    match low.partial_cmp(&high) {
        Some(std::cmp::Ordering::Less) => [low, high],
        Some(std::cmp::Ordering::Equal) => {
            let around = low.abs().max(1.0) / 2.0;
            [low - around, high + around]
        }
        _ => [0.0, 1.0],
    }
}

fn number(value: f64, digits: usize) -> String {
    if value == 0.0 || (1e-2..1e6).contains(&value.abs()) {
        format!("{value:.digits$}")
    } else {
        format!("{value:.2e}")
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::*;

    /// The board as it is drawn on a terminal of a size.
    pub(crate) fn drawn(board: &Board, width: u16, height: u16) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| board.draw(frame)).unwrap();
        let cells = &terminal.backend().buffer().content;
        let rows = cells.chunks(usize::from(width).max(1));
        let row = |row: &[ratatui::buffer::Cell]| -> String {
            row.iter().map(ratatui::buffer::Cell::symbol).collect()
        };
        rows.map(row).collect::<Vec<_>>().join("\n")
    }

    fn board() -> Board {
        let mut board = Board::default();
        board.name("default");
        board.add("Loss");
        board.add("Bits per byte");
        board.add("Loss");
        board.progress(100, 900);
        for step in 100..342 {
            board.update(
                Part::Training,
                "Loss",
                "1.2345 nats",
                Some(700.0 / step as f64),
            );
            board.progress(step + 1, 900);
        }
        board.update(Part::Validation, "Loss", "1.5 nats", Some(1.5));
        board.update(Part::Validation, "Bits per byte", "0.9", Some(0.9));
        board
    }

    #[test]
    fn each_thing_is_shown_once() {
        let mut board = board();
        let text = drawn(&board, 120, 36);
        for once in [
            "Run: default",
            "342/900",
            "38 %",
            "Time left",
            "Train 1.2345 nats",
            "Valid 1.5 nats",
            "Valid 0.9",
            "All steps",
            "101",
        ] {
            assert_eq!(text.matches(once).count(), 1, "{once}:\n{text}");
        }
        // The name of the figure, and of its tab.
        assert_eq!(text.matches("Bits per byte").count(), 2, "{text}");
        board.look_at(true);
        board.stop();
        let text = drawn(&board, 120, 36);
        assert!(
            text.contains("Newest steps") && text.contains("stopping"),
            "{text}"
        );
        for forward in [true, true, false, false, false] {
            board.select(forward);
        }
        assert_eq!(board.selected, 1);
    }

    #[test]
    fn any_size_and_nothing_at_all_can_be_drawn() {
        for (width, height) in [(1, 1), (3, 2), (20, 5), (40, 12), (400, 100)] {
            drawn(&board(), width, height);
            drawn(&Board::default(), width, height);
        }
        let mut flat = Board::default();
        flat.add("Loss");
        flat.progress(0, 0);
        flat.update(Part::Training, "Loss", "0", Some(0.0));
        flat.update(Part::Training, "unknown", "0", Some(0.0));
        flat.select(true);
        assert!(drawn(&flat, 80, 24).contains("0 %"));
    }
}
