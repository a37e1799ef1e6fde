import { expect } from 'chai';
import fc from 'fast-check';
import { KeyQueue, type Queued } from '../../../kdi-client/pool/key-queue.ts';

interface Item extends Queued<Item> {
  readonly id: number;
}

describe('kdi-client/pool/key-queue', () => {
  it('is what a list is, whatever joins and leaves in whatever order', () => {
    const step = fc.record({ id: fc.nat(9), queue: fc.nat(1), join: fc.boolean() });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const items = Array.from(
          { length: 10 },
          (_, id): Item => ({
            id,
            queue: undefined,
            before: undefined,
            after: undefined,
          }),
        );
        const queues = [new KeyQueue<Item>(), new KeyQueue<Item>()];
        const expected: number[][] = [[], []];
        for (const { id, queue, join } of steps) {
          const item = items[id] as Item;
          if (join) {
            for (const list of expected) if (list.includes(id)) list.splice(list.indexOf(id), 1);
            expected[queue]!.push(id);
            queues[queue]!.push(item);
          } else {
            const list = expected[queue]!;
            if (list.includes(id)) list.splice(list.indexOf(id), 1);
            queues[queue]!.remove(item);
          }
          expect(queues.map((one) => [...one].map((each) => each.id))).to.deep.equal(expected);
        }
      }),
    );
  });

  it('may lose the key in hand while it is walked over', () => {
    const queue = new KeyQueue<Item>();
    for (let id = 0; id < 5; id++) queue.push({ id, queue: undefined, before: undefined, after: undefined });
    const seen: number[] = [];
    for (const item of queue) {
      seen.push(item.id);
      queue.remove(item);
    }
    expect(seen).to.deep.equal([0, 1, 2, 3, 4]);
    expect([...queue]).to.deep.equal([]);
  });
});
