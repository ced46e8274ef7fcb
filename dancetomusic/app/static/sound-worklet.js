// Blocks of PCM that come unevenly, played evenly: a short store between network and sound card.

const CAPACITY = 2 ** 16;
const FADE = 128;
const REPORT_S = 0.1;

class JitterBuffer extends AudioWorkletProcessor {
  constructor({ processorOptions: { targetSamples } }) {
    super();
    this.target = targetSamples;
    this.ring = new Float32Array(CAPACITY);
    Object.assign(this, { written: 0, read: 0, filling: true, gaps: -1, power: 0, counted: 0 });
    this.port.onmessage = ({ data }) => this.store(new Int16Array(data));
  }

  store(samples) {
    for (let n = 0; n < samples.length; n += 1) {
      this.ring[(this.written + n) % CAPACITY] = samples[n] / 32768;
    }
    this.written += samples.length;
    const late = this.written - this.read - 3 * this.target;
    if (late > 0) this.skip(late + this.target);
  }

  // Sound that waits too long is left out, with a short cross-fade over the cut.
  skip(samples) {
    for (let n = 0; n < FADE; n += 1) {
      const to = (this.read + samples + n) % CAPACITY;
      const share = n / FADE;
      this.ring[to] = share * this.ring[to] + (1 - share) * this.ring[(this.read + n) % CAPACITY];
    }
    this.read += samples;
  }

  process(_inputs, [[out]]) {
    const stored = this.written - this.read;
    if (this.filling && stored >= this.target) {
      this.filling = false;
      this.gaps += 1; // the first filling is no gap
    }
    if (!this.filling) {
      const n = Math.min(out.length, stored);
      for (let k = 0; k < n; k += 1) out[k] = this.ring[(this.read + k) % CAPACITY];
      this.read += n;
      if (stored < 2 * out.length) {
        for (let k = 0; k < n; k += 1) out[k] *= 1 - (k + 1) / n;
        this.filling = true;
      }
    }
    for (const sample of out) this.power += sample * sample;
    this.counted += out.length;
    if (this.counted >= REPORT_S * sampleRate) {
      this.port.postMessage({
        buffered_ms: (1000 * (this.written - this.read)) / sampleRate,
        rms: Math.sqrt(this.power / this.counted),
        gaps: Math.max(0, this.gaps),
      });
      this.power = this.counted = 0;
    }
    return true;
  }
}

registerProcessor("jitter-buffer", JitterBuffer);
