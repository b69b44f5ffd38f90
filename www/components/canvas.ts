// The picture of a comparison, in the page's own colours and faces, as a PNG.
import { draw, SIZE, type Look, type Subject } from "../picture";

export async function picture(subject: Subject): Promise<Blob> {
  const canvas = document.createElement("canvas");
  canvas.width = SIZE.width;
  canvas.height = SIZE.height;
  const brush = canvas.getContext("2d");
  if (brush === null) throw new Error("no canvas to draw on");
  draw(brush, look(), subject);
  return new Promise((resolve, reject) => {
    canvas.toBlob((blob) => {
      if (blob === null) reject(new Error("the canvas gave no picture"));
      else resolve(blob);
    }, "image/png");
  });
}

function look(): Look {
  const style = getComputedStyle(document.documentElement);
  const value = (name: string) => style.getPropertyValue(name).trim();
  return {
    paper: value("--paper"),
    ink: value("--ink"),
    muted: value("--muted"),
    lanes: [value("--full"), value("--half")],
    serif: value("--serif"),
    sans: value("--sans"),
  };
}
