// Skeletons over a picture: the dancer's left side orange, the right side blue.

const LEFT = "#ff8a3d";
const RIGHT = "#38bdf8";
const MIDDLE = "#ffffff";
const FIRST_JOINT = 11; // those before are the face

export class Skeleton {
  constructor(canvas, facts) {
    this.canvas = canvas;
    this.bones = facts.bones;
    const side = (name) => (name.includes("left") ? LEFT : name.includes("right") ? RIGHT : MIDDLE);
    this.colours = facts.landmarks.map(side);
  }

  // Landmarks are [x, y] as shares of a picture that lies centred in `view`, or null.
  draw(dancers, picture) {
    const { canvas } = this;
    const scale = window.devicePixelRatio || 1;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    if (canvas.width !== Math.round(width * scale)) canvas.width = Math.round(width * scale);
    if (canvas.height !== Math.round(height * scale)) canvas.height = Math.round(height * scale);
    const pen = canvas.getContext("2d");
    pen.setTransform(scale, 0, 0, scale, 0, 0);
    pen.clearRect(0, 0, width, height);
    if (!picture.width || !picture.height) return;
    const fit = Math.min(width / picture.width, height / picture.height);
    const [w, h] = [picture.width * fit, picture.height * fit];
    const toPicture = ([x, y]) => [(width - w) / 2 + x * w, (height - h) / 2 + y * h];
    const thick = Math.max(2, Math.min(w, h) / 110);
    pen.lineCap = "round";
    for (const landmarks of dancers) {
      if (!landmarks) continue;
      const points = landmarks.map(toPicture);
      for (const [colourOf, extra] of [[() => "rgb(0 0 0 / 0.75)", 2], [(a, b) => this.shared(a, b), 0]]) {
        pen.lineWidth = thick + extra;
        for (const [a, b] of this.bones) {
          pen.strokeStyle = colourOf(a, b);
          pen.beginPath();
          pen.moveTo(...points[a]);
          pen.lineTo(...points[b]);
          pen.stroke();
        }
      }
      points.forEach(([x, y], joint) => {
        if (joint < FIRST_JOINT) return;
        pen.fillStyle = this.colours[joint];
        pen.beginPath();
        pen.arc(x, y, thick, 0, 2 * Math.PI);
        pen.fill();
      });
    }
  }

  shared(a, b) {
    return this.colours[a] === this.colours[b] ? this.colours[a] : MIDDLE;
  }
}

// Reads what the worker wrote: [dancers, frames, landmarks, 2] numbers of 16 bits, 0 if absent.
export class SkeletonTrack {
  constructor(buffer, { dancers, frames, fps }, facts) {
    this.values = new Uint16Array(buffer);
    this.count = facts.landmarks.length;
    [this.low, this.high] = facts.skeleton_range;
    Object.assign(this, { dancers, frames, fps });
  }

  at(seconds) {
    const frame = Math.min(this.frames - 1, Math.max(0, Math.floor(seconds * this.fps + 1e-6)));
    return Array.from({ length: this.dancers }, (_, dancer) => this.one(dancer, frame));
  }

  one(dancer, frame) {
    const start = (dancer * this.frames + frame) * this.count * 2;
    if (!this.values[start]) return null;
    const share = (value) => this.low + ((value - 1) / 65534) * (this.high - this.low);
    return Array.from({ length: this.count }, (_, joint) => [
      share(this.values[start + 2 * joint]),
      share(this.values[start + 2 * joint + 1]),
    ]);
  }
}
