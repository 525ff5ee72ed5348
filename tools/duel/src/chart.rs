//! The results as bars: one SVG file for each workload.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::duel::WORKLOADS;
use crate::results::{Results, Server, Spread};
use crate::table::times;

// Narrow enough that its text can be read on a telephone.
const WIDTH: i32 = 370;
const LEFT: i32 = 76;
const TOP: i32 = 90;
const BAR: i32 = 26;
/// In a page it becomes the colour of its text.
const INK: RGBColor = RGBColor(128, 128, 128);
const OURS: RGBColor = RGBColor(206, 92, 20);
const OTHERS: RGBColor = RGBColor(70, 130, 180);

struct Bar<'a> {
    name: &'a str,
    spread: Option<Spread>,
}

/// The workloads that get a chart. In the others the servers are much as in one of these.
const CHARTED: [&str; 3] = ["64 lines in flight, 1 connection", "ping-pong, 64 connections", "short connections"];

/// Draws a chart for each of these workloads, and one of the memory of idle connections.
pub fn draw_all(results: &Results, dir: &Path) -> Result<()> {
    for (index, workload) in WORKLOADS.iter().enumerate().filter(|(_, workload)| CHARTED.contains(&workload.name)) {
        let title = format!("{}: times as fast as {}", workload.name, results.base());
        let file = dir.join(format!("{}.svg", workload.name.replace(", ", "-").replace(' ', "-").to_lowercase()));
        draw(&file, &title, Some(1.0), results, |server| server.speeds[index].ratio)?;
    }
    draw(&dir.join("idle-memory.svg"), "10,000 idle connections: KiB of memory each", None, results, |server| {
        #[expect(clippy::cast_precision_loss, reason = "these are small numbers")]
        Spread::of(server.idle.iter().map(|idle| idle.after_a_line_bytes as f64 / 1024.0))
    })
}

/// Draws a chart, with a line at the value that all are compared with, if there is one.
fn draw(
    file: &Path,
    title: &str,
    base: Option<f64>,
    results: &Results,
    of: impl Fn(&Server) -> Option<Spread>,
) -> Result<()> {
    let bars: Vec<Bar<'_>> =
        results.servers.iter().map(|server| Bar { name: &server.name, spread: of(server) }).collect();
    let height = TOP + BAR * i32::try_from(bars.len())? + 12;
    let area = SVGBackend::new(file, (WIDTH.unsigned_abs(), height.unsigned_abs())).into_drawing_area();
    paint(&area, title, base, results, &bars).with_context(|| format!("cannot draw {}", file.display()))?;
    area.present().with_context(|| format!("cannot write {}", file.display()))?;
    drop(area);
    tell(file, title, &bars).with_context(|| format!("cannot write what is seen into {}", file.display()))
}

/// Adds the same in words, which plotters can't: for those who don't see the bars.
fn tell(file: &Path, title: &str, bars: &[Bar<'_>]) -> Result<()> {
    let name = file.file_stem().context("it has no name")?.to_string_lossy();
    let bar = |bar: &Bar<'_>| match bar.spread {
        Some(Spread { median, min, max }) => {
            format!("{}: {}, from {} to {}", bar.name, times(median), times(min), times(max))
        }
        None => format!("{}: fails", bar.name),
    };
    let told = bars.iter().map(bar).collect::<Vec<_>>().join(". ");
    let drawn = fs::read_to_string(file)?;
    let (head, rest) = drawn.split_once('>').context("it is no SVG")?;
    let labels = format!("role=\"img\" aria-labelledby=\"{name}-title {name}-desc\"");
    let words = format!("<title id=\"{name}-title\">{title}</title>\n<desc id=\"{name}-desc\">{told}.</desc>");
    let rest = rest.replace("\"#808080\"", "\"currentColor\"");
    Ok(fs::write(file, format!("{head} {labels}>\n{words}{rest}"))?)
}

fn paint(
    area: &DrawingArea<SVGBackend<'_>, plotters::coord::Shift>,
    title: &str,
    base: Option<f64>,
    results: &Results,
    bars: &[Bar<'_>],
) -> Result<()> {
    let font = |size: i32| ("sans-serif", size).into_font().color(&INK);
    let right = font(16).pos(Pos::new(HPos::Right, VPos::Center));
    let left = font(16).pos(Pos::new(HPos::Left, VPos::Center));
    let end = right.clone();
    let greatest = bars.iter().filter_map(|bar| bar.spread).map(|spread| spread.max).fold(f64::MIN_POSITIVE, f64::max);
    #[expect(clippy::cast_possible_truncation, reason = "it ends within the picture")]
    let x = |value: f64| LEFT + (value / greatest * f64::from(WIDTH - LEFT - 56)) as i32;

    let machine = &results.machine;
    let go = machine.go.as_deref().unwrap_or("no Go");
    let rounds = format!("median of {} rounds, line from the least to the greatest", results.rounds);
    let about = format!("{}, Linux {}, {go}", machine.processor, machine.kernel);
    area.draw(&Text::new(title.to_owned(), (8, 6), font(17)))?;
    area.draw(&Text::new(rounds, (8, 30), font(15)))?;
    area.draw(&Text::new(about, (8, 48), font(15)))?;
    for (x, colour, whose) in [(8, OURS, "of this course"), (130, OTHERS, "others")] {
        area.draw(&Rectangle::new([(x, 68), (x + 12, 80)], colour.filled()))?;
        area.draw(&Text::new(whose, (x + 18, 74), font(15).pos(Pos::new(HPos::Left, VPos::Center))))?;
    }
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
        area.draw(&Text::new(times(median), (WIDTH - 4, middle), end.clone()))?;
    }
    if let Some(base) = base {
        let bottom = TOP + BAR * i32::try_from(bars.len())?;
        area.draw(&PathElement::new([(x(base), TOP - 2), (x(base), bottom)], INK.stroke_width(1)))?;
    }
    Ok(())
}
