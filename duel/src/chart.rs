//! The results as bars: one SVG file for each workload.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::duel::WORKLOADS;
use crate::results::{Results, Server, Spread};
use crate::table::times;

const WIDTH: i32 = 720;
const LEFT: i32 = 90;
const TOP: i32 = 56;
const BAR: i32 = 26;
/// Readable on white and on black.
const INK: RGBColor = RGBColor(128, 128, 128);
const OURS: RGBColor = RGBColor(206, 92, 20);
const OTHERS: RGBColor = RGBColor(70, 130, 180);

struct Bar<'a> {
    name: &'a str,
    spread: Option<Spread>,
}

/// Draws a chart for each workload, and one of the memory of idle connections.
pub fn draw_all(results: &Results, dir: &Path) -> Result<()> {
    fs::create_dir_all(dir).with_context(|| format!("cannot make the directory {}", dir.display()))?;
    for (index, workload) in WORKLOADS.iter().enumerate() {
        let title = format!("{}: how many times as fast as {}", workload.name, results.base());
        let file = dir.join(format!("{}.svg", workload.name.replace(", ", "-").replace(' ', "-").to_lowercase()));
        draw(&file, &title, results, |server| server.speeds[index].ratio)?;
    }
    draw(&dir.join("idle-memory.svg"), "10,000 idle connections: resident KiB for each", results, |server| {
        #[expect(clippy::cast_precision_loss, reason = "these are small numbers")]
        Spread::of(server.idle.iter().map(|idle| idle.after_a_line_bytes as f64 / 1024.0))
    })
}

fn draw(file: &Path, title: &str, results: &Results, of: impl Fn(&Server) -> Option<Spread>) -> Result<()> {
    let bars: Vec<Bar<'_>> =
        results.servers.iter().map(|server| Bar { name: &server.name, spread: of(server) }).collect();
    let height = TOP + BAR * i32::try_from(bars.len())? + 12;
    let area = SVGBackend::new(file, (WIDTH.unsigned_abs(), height.unsigned_abs())).into_drawing_area();
    paint(&area, title, results, &bars).with_context(|| format!("cannot draw {}", file.display()))?;
    area.present().with_context(|| format!("cannot write {}", file.display()))
}

fn paint(
    area: &DrawingArea<SVGBackend<'_>, plotters::coord::Shift>,
    title: &str,
    results: &Results,
    bars: &[Bar<'_>],
) -> Result<()> {
    let font = |size: i32| ("sans-serif", size).into_font().color(&INK);
    let right = font(17).pos(Pos::new(HPos::Right, VPos::Center));
    let left = font(17).pos(Pos::new(HPos::Left, VPos::Center));
    let greatest = bars.iter().filter_map(|bar| bar.spread).map(|spread| spread.max).fold(f64::MIN_POSITIVE, f64::max);
    #[expect(clippy::cast_possible_truncation, reason = "it ends within the picture")]
    let x = |value: f64| LEFT + (value / greatest * f64::from(WIDTH - LEFT - 80)) as i32;

    area.draw(&Text::new(title.to_owned(), (8, 8), font(21)))?;
    let machine = &results.machine;
    let about = format!(
        "median of {} rounds, line from least to greatest; {}, Linux {}, {}",
        results.rounds,
        machine.processor,
        machine.kernel,
        machine.go.as_deref().unwrap_or("no Go")
    );
    area.draw(&Text::new(about, (8, 31), font(14)))?;
    for (bar, top) in bars.iter().zip((TOP..).step_by(BAR.unsigned_abs() as usize)) {
        let middle = top + BAR / 2;
        area.draw(&Text::new(bar.name.to_owned(), (LEFT - 8, middle), right.clone()))?;
        let Some(Spread { median, min, max }) = bar.spread else {
            area.draw(&Text::new("fails", (LEFT + 4, middle), left.clone()))?;
            continue;
        };
        let colour = if bar.name.starts_with("step") { OURS } else { OTHERS };
        area.draw(&Rectangle::new([(LEFT, top + 4), (x(median), top + BAR - 4)], colour.filled()))?;
        area.draw(&PathElement::new([(x(min), middle), (x(max), middle)], INK.stroke_width(2)))?;
        area.draw(&Text::new(times(median), (x(max) + 6, middle), left.clone()))?;
    }
    Ok(())
}
