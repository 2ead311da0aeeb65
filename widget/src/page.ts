// Page views: the first one, those of a single-page application, and those of a page that comes back.
//
// What counts as another page is the path and the query. A fragment counts only when it is a route ("#/orders",
// "#!/orders"): an anchor is a place on the same page, and other fragments may hold secrets, so they aren't sent either.
// Route changes are counted a moment later, so that a redirect right after them counts once and the title is the new one.

import { guard } from './debug';

/** Milliseconds: how late a route change is counted, and how long "in the same moment" lasts. */
const enum Time {
  settle = 50,
  moment = 1000,
}

let counted = '';
let countedAt = 0;
/** The address before this one: of the site that led here, or of the last page view of this page. */
export let referrer = document.referrer;

/** The current address without a fragment that is no route. */
export function address(): string {
  return location.href.replace(/#(?!!?\/).*/, '');
}

/** Reports whether the current address was counted within the last moment, whoever asked for it. */
export function justCounted(): boolean {
  return counted == address() && performance.now() - countedAt < Time.moment;
}

/** Notes that the current address is counted now. */
export function count(): void {
  const now = address();
  if (counted && counted != now) referrer = counted;
  counted = now;
  countedAt = performance.now();
}

/**
 * Calls view when the address has become another one or the page came back from the browser's cache, and leave when the
 * page is hidden or left. Returns the function that takes all of it back.
 */
export function watch(view: () => void, leave: (closing: boolean) => void, online: () => void): () => void {
  const undo: (() => void)[] = [];
  let timer = 0;

  const settle = guard(() => {
    clearTimeout(timer);
    if (address() != counted) view();
  });
  const moved = () => {
    clearTimeout(timer);
    timer = setTimeout(settle, Time.settle);
  };
  const on = (target: EventTarget, name: string, work: (event: any) => void) => {
    const safe = guard(work);
    target.addEventListener(name, safe);
    undo.push(() => target.removeEventListener(name, safe));
  };
  const hook = guard((name: 'pushState' | 'replaceState') => {
    const original = history[name];
    const own = function (this: History): unknown {
      const result: unknown = original.apply(this, arguments as any);
      moved();
      return result;
    };
    history[name] = own;
    undo.push(() => {
      // Who wrapped it after us keeps a wrapper that calls through.
      if (history[name] == own) history[name] = original;
    });
  });

  hook('pushState');
  hook('replaceState');
  // Changes of the fragment arrive here too.
  on(window, 'popstate', moved);
  on(window, 'pageshow', (event) => event.persisted && view());
  on(window, 'online', online);
  on(window, 'pagehide', () => {
    settle();
    leave(true);
  });
  on(document, 'visibilitychange', () => {
    if (document.hidden) {
      settle();
      leave(false);
    }
  });
  return () => {
    clearTimeout(timer);
    undo.forEach((one) => one());
  };
}
