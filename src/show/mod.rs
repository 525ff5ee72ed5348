//! What people see: text on the screen, a recording told in lines, and a recording drawn as a figure.

pub mod evidence;
mod figure;
pub mod scene;
pub mod screen;
pub mod timeline;
