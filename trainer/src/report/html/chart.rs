//! The charts, as SVG. Their colours are the light ones of `style.css`, which maps each to a variable of its own.

use std::io;
use std::ops::Range;

use plotters::backend::{DrawingBackend, SVGBackend};
use plotters::chart::{ChartBuilder, MeshStyle};
use plotters::coord::Shift;
use plotters::coord::ranged1d::{IntoSegmentedCoord, Ranged, SegmentValue};
use plotters::drawing::{DrawingArea, DrawingAreaErrorKind, IntoDrawingArea};
use plotters::element::{Circle, Rectangle, Text};
use plotters::series::LineSeries;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{Color, IntoFont, RGBColor, TextStyle};

use super::files::{Candidate, LossPoint};
use super::percent;
use crate::quantize::TensorReport;

const INK: RGBColor = RGBColor(0x1c, 0x1e, 0x21);
const GRID: RGBColor = RGBColor(0xdf, 0xe2, 0xe8);
const TRAIN: RGBColor = RGBColor(0x25, 0x63, 0xc9);
const VALIDATION: RGBColor = RGBColor(0xc2, 0x41, 0x0c);
const OTHER: RGBColor = RGBColor(0x0f, 0x76, 0x6e);

/// Twice as fine as they are shown: the backend's coordinates are whole numbers.
const WIDTH: u32 = 1600;
const HEIGHT: u32 = 640;
const LINE: u32 = 4;
const DOT: u32 = 7;
const TEXT: i32 = 32;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawing = Result<(), DrawingAreaErrorKind<io::Error>>;
type Points = Vec<(f64, f64)>;

/// What `fill` draws.
fn svg(height: u32, fill: impl FnOnce(&Area) -> Drawing) -> String {
    let mut text = String::new();
    {
        let area = SVGBackend::with_string(&mut text, (WIDTH, height)).into_drawing_area();
        fill(&area)
            .and_then(|()| area.present())
            .expect("a string takes every drawing");
    }
    text
}

fn text(colour: RGBColor) -> TextStyle<'static> {
    ("sans-serif", TEXT).into_font().color(&colour)
}

/// Room for a chart and its labels below and to the left.
fn frame<'a, 'b>(
    area: &'a Area<'b>,
    [below, left]: [u32; 2],
) -> ChartBuilder<'a, 'b, SVGBackend<'b>> {
    let mut chart = ChartBuilder::on(area);
    chart.margin(16).margin_right(40);
    chart.x_label_area_size(below).y_label_area_size(left);
    chart
}

/// How every grid and its labels look.
fn grid<'m, 'a, 'b, X: Ranged, Y: Ranged, DB: DrawingBackend>(
    mesh: &'m mut MeshStyle<'a, 'b, X, Y, DB>,
) -> &'m mut MeshStyle<'a, 'b, X, Y, DB> {
    mesh.light_line_style(GRID.mix(0.0))
        .bold_line_style(GRID)
        .axis_style(GRID)
        .label_style(text(INK))
}

/// From the least to the most with some air, or around the only value.
fn around(values: impl Iterator<Item = f64>) -> Range<f64> {
    let (least, most) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), v| {
        (a.min(v), b.max(v))
    });
    let air = match most - least {
        range if range > 0.0 => 0.06 * range,
        _ => 0.1 * most.abs().max(1e-6),
    };
    // Nothing that is drawn here is negative.
    (least - air).max(0.0)..most + air
}

/// Training and validation loss.
pub fn losses(rows: &[LossPoint]) -> String {
    let train = rows.iter().map(|row| (row.step as f64, row.train_loss));
    let validation = rows
        .iter()
        .filter_map(|row| Some((row.step as f64, row.dev_loss?)));
    let series = [(TRAIN, train.collect()), (VALIDATION, validation.collect())];
    curves(HEIGHT, "nats", series.into())
}

/// The learning rate.
pub fn learning_rate(rows: &[LossPoint]) -> String {
    let rate = rows.iter().map(|row| (row.step as f64, row.learning_rate));
    curves(HEIGHT / 2, "rate", vec![(OTHER, rate.collect())])
}

/// Curves over steps, with dots where there is room for them.
fn curves(height: u32, unit: &str, series: Vec<(RGBColor, Points)>) -> String {
    let points = || series.iter().flat_map(|(_, points)| points);
    let steps = points().map(|point| point.0).fold(1.0, f64::max);
    let values = around(points().map(|point| point.1));
    svg(height, |area| {
        let mut chart = frame(area, [84, 150]).build_cartesian_2d(0.0..steps, values)?;
        grid(&mut chart.configure_mesh())
            .x_label_formatter(&|step| format!("{step:.0}"))
            .y_labels(if height < HEIGHT { 5 } else { 8 })
            .x_desc("steps")
            .y_desc(unit)
            .draw()?;
        for (colour, points) in series {
            let dots = points.len() <= 40;
            let circles: Vec<_> = points
                .iter()
                .filter(|_| dots)
                .map(|point| Circle::new(*point, DOT, colour.filled()))
                .collect();
            if !points.is_empty() {
                chart.draw_series(LineSeries::new(points, colour.stroke_width(LINE)))?;
            }
            chart.draw_series(circles)?;
        }
        Ok(())
    })
}

/// Nats against kilobytes, with a line through those that no smaller one beats. `points` stand in the order of their bytes.
pub fn sizes(points: &[Candidate]) -> String {
    /// More names would hide each other.
    const NAMED: usize = 16;
    let place = |point: &Candidate| (point.bytes as f64 / 1024.0, point.nats);
    let mut best = f64::INFINITY;
    let better = points.iter().filter(|point| {
        let better = point.nats < best;
        best = best.min(point.nats);
        better
    });
    let best: Points = better.map(place).collect();
    let bytes = around(points.iter().map(|point| place(point).0));
    let nats = around(points.iter().map(|point| place(point).1));
    let middle = (bytes.start + bytes.end) / 2.0;
    svg(HEIGHT, |area| {
        let mut chart = frame(area, [84, 150]).build_cartesian_2d(bytes, nats)?;
        grid(&mut chart.configure_mesh())
            .x_desc("KB")
            .y_desc("nats")
            .draw()?;
        chart.draw_series(LineSeries::new(best, TRAIN.stroke_width(LINE)))?;
        let dot = |point| Circle::new(place(point), DOT + 3, OTHER.filled());
        chart.draw_series(points.iter().map(dot))?;
        let named = points.iter().filter(|_| points.len() <= NAMED);
        for point in named {
            // Towards the middle, so that names stay inside.
            let (x, y) = chart.backend_coord(&place(point));
            let (h_pos, aside) = match place(point).0 > middle {
                true => (HPos::Right, -18),
                false => (HPos::Left, 18),
            };
            let style = text(INK).pos(Pos::new(h_pos, VPos::Bottom));
            area.draw(&Text::new(
                shortened(&point.name),
                (x + aside, y - 6),
                style,
            ))?;
        }
        Ok(())
    })
}

fn shortened(name: &str) -> String {
    const MOST: usize = 30;
    match name.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", &name[..end]),
        None => name.into(),
    }
}

/// A bar for the rounding error of each tensor, the first on top.
pub fn tensors(tensors: &[TensorReport]) -> String {
    if tensors.is_empty() {
        return svg(1, |_| Ok(()));
    }
    let count = tensors.len() as i32;
    let error = |tensor: &TensorReport| 100.0 * tensor.relative_error;
    let most = tensors.iter().map(error).fold(1e-6, f64::max);
    svg(110 + 48 * count as u32, |area| {
        let mut chart = frame(area, [50, 520])
            .build_cartesian_2d(0.0..1.15 * most, (0..count - 1).into_segmented())?;
        let name = |place: &SegmentValue<i32>| match place {
            SegmentValue::CenterOf(row) => tensors
                .get((count - 1 - row) as usize)
                .map_or(String::new(), |tensor| shortened(&tensor.name)),
            _ => String::new(),
        };
        grid(&mut chart.configure_mesh())
            .disable_y_mesh()
            .y_labels(tensors.len())
            .y_label_formatter(&name)
            .draw()?;
        let rows = || (0..count).rev().zip(tensors);
        chart.draw_series(rows().map(|(row, tensor)| {
            let place = [
                (0.0, SegmentValue::Exact(row)),
                (error(tensor), SegmentValue::Exact(row + 1)),
            ];
            let mut bar = Rectangle::new(place, OTHER.filled());
            bar.set_margin(8, 8, 0, 0);
            bar
        }))?;
        chart.draw_series(rows().map(|(row, tensor)| {
            let style = text(INK).pos(Pos::new(HPos::Left, VPos::Center));
            let place = (error(tensor) + 0.01 * most, SegmentValue::CenterOf(row));
            Text::new(percent(tensor.relative_error), place, style)
        }))?;
        Ok(())
    })
}
