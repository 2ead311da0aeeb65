// What goes on the wire, as pure functions: any page object in, plain JSON values out. Nothing here touches the page.

/** Plain JSON values by name, as one message carries them. */
export type Wire = Record<string, unknown>;

const enum Limit {
  /** The most bytes one message may have: the gateway's limit for a payload. */
  message = 32 << 10,
  /** The gateway drops longer texts with a warning; sending one could only cost the rest of its message. */
  text = 8192,
  /** The deepest nesting that the gateway reads. It also ends a walk through objects that point at each other. */
  depth = 5,
  /** More values than fit in a message at two bytes each, so stopping here cuts only what is too large anyway. */
  values = 16384,
}

/** Keys of window.civchat that steer the script and are no attributes. */
const steering = /^(state|debug|userKey|\$)$/;

/**
 * Copies what JSON can say out of any object: a date becomes its ISO text, a BigInt its digits. Left out are
 * undefined, functions, symbols, NaN, DOM nodes, windows, cycles and everything whose getter throws. null stays, because
 * it clears an attribute. Never throws. The objects above the source count as depth; below any, all names are data.
 */
export function wire(source: unknown, above: unknown[] = [source]): Wire {
  let left = Limit.values;

  const copy = (value: any, above: unknown[]): unknown => {
    if (left-- < 0) return undefined;
    const type = typeof value;
    if (value === null || type == 'boolean' || (type == 'number' && isFinite(value)) || (type == 'string' && value.length <= Limit.text)) return value;
    if (type == 'bigint') return '' + value;
    if (type != 'object' || above.length > Limit.depth || above.indexOf(value) >= 0) return undefined;
    if (value.nodeType || value.window === value) return undefined;
    const here = above.concat([value]);
    if (Array.isArray(value)) {
      // Old libraries put a toJSON on every array, which would make a text of the list.
      const list: any = [];
      list.toJSON = 0;
      for (let i = 0; i < value.length; i++) {
        const item = copy(value[i], here);
        if (item !== undefined) list.push(item);
      }
      return list;
    }
    if (typeof value.toJSON == 'function') {
      // An invalid date answers null here, which must not clear the attribute.
      const text = value.toJSON();
      return text === null ? undefined : copy(text, here);
    }
    return fields(value, here);
  };

  const fields = (value: any, above: unknown[]): Wire => {
    const out: Wire = {};
    for (const name of Object.keys(value)) {
      try {
        if (above.length > 1 || !steering.test(name)) {
          const item = copy(value[name], above);
          if (item !== undefined) out[name] = item;
        }
      } catch {
        // A getter of the page threw: only this key is lost.
      }
    }
    return out;
  };

  try {
    return source && typeof source == 'object' ? fields(source, above) : {};
  } catch {
    return {};
  }
}

const differ = (a: unknown, b: unknown) => a != null && b != null && a != b;

/** Reports whether a call names somebody else than window.civchat does, by the rule of the gateway: user_id first, then e-mail. */
export function isOther(now: Wire, next: Wire): boolean {
  return differ(now.user_id, next.user_id) || (now.user_id == null && differ(now.email, next.email));
}

/** The size of a text as UTF-8. */
export function size(text: string): number {
  return new TextEncoder().encode(text).length;
}

/**
 * One message as JSON, or '' when it is over the gateway's limit. When only the attributes are too much, the message goes
 * with the identifiers alone, so that the visit or event still counts.
 */
export function message(attributes: Wire, envelope: Wire): string {
  const { apiKey, user_id, email } = attributes;
  for (const body of [attributes, { apiKey, user_id, email }]) {
    const text = JSON.stringify({ ...body, $: envelope });
    if (size(text) <= Limit.message) return text;
  }
  return '';
}

/** The milliseconds that a Retry-After header asks for, as seconds or as a date (RFC 9110, 10.2.3); 0 when it says nothing. */
export function retryAfter(header: string | null, now: number): number {
  const wait = +header! >= 0 ? +header! * 1000 : Date.parse(header!) - now;
  return wait > 0 ? wait : 0;
}

let last = 0;

/**
 * A message id: UUID version 7 with a counter (RFC 9562, section 6.2, method 1). Ids of one page sort in the order they
 * were made, also within a millisecond, which holds 256; so their time doesn't run ahead of the clock, and the ids of the
 * next page follow.
 */
export function messageId(now: number): string {
  now *= 256;
  // A clock that was set back must not put new messages before older ones, unless it was far off.
  last = now > last || last - now > 60000 * 256 ? now : last + 1;
  // The time has one leading zero from 2004 to 2527.
  return last.toString(16).replace(/(.{7})(.{4})/, '0$1-$2-7') + `${random(1, 16)}-8${random(3, 16)}-${random(12, 16)}`;
}

/** Random digits of the given base (16 or 36): 36 makes visitor keys. Libraries replace Array.from by a lesser one. */
export function random(length: number, base: number): string {
  let digits = '';
  crypto.getRandomValues(new Uint8Array(length)).forEach((byte) => (digits += (byte % base).toString(base)));
  return digits;
}
