// Faults that a test asks for: each names the requests that it meets, how often, and what happens to them.
//
//   {"match": {"method": "PUT", "path": "/merge$"}, "kind": "lost", "times": 1}
//
// kinds: status  answers `status`, `headers` and the forge's words, and does nothing else
//        slow    waits `delay_ms`, then does what was asked
//        cut     does what was asked and breaks off in the middle of the answer
//        lost    does what was asked and says nothing
//        stale   answers a read with what was read before, if it was
//        garbage does what was asked and answers something that is no JSON
// `skip` lets that many matching requests pass first; without `times` a fault stays.

const KINDS = ['status', 'slow', 'cut', 'lost', 'stale', 'garbage'];
const FAULTS_MAX = 100;

export class Faults {
  constructor() {
    this.all = [];
  }

  add(fault) {
    if (!KINDS.includes(fault?.kind)) throw new Error(`no such fault; the kinds are ${KINDS.join(', ')}`);
    if (this.all.length >= FAULTS_MAX) throw new Error('too many faults');
    if (fault.kind === 'status' && !Number.isInteger(fault.status)) throw new Error('status: which?');
    const { method, path } = fault.match ?? {};
    this.all.push({ skip: 0, times: Infinity, met: 0, ...fault, method, pattern: new RegExp(path ?? '') });
  }

  clear() {
    this.all = [];
  }

  // The fault that this request meets, if any; it is used up by one.
  meet(method, target) {
    for (const it of this.all) {
      if ((it.method && it.method !== method) || !it.pattern.test(target) || it.times <= 0) continue;
      if (it.skip > 0) {
        it.skip -= 1;
        continue;
      }
      it.times -= 1;
      it.met += 1;
      return it;
    }
    return null;
  }

  shown() {
    return this.all.map(({ pattern, times, ...rest }) => ({ ...rest, left: Number.isFinite(times) ? times : null }));
  }
}
