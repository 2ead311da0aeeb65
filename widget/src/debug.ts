// Console lines for whoever sets the snippet up: only with civchat.debug, else the script is silent.

/** The page's window, with all that pages put there. */
export const w = window as any;

export function log(text: string, detail?: unknown): void {
  try {
    if (w.civchat.debug) console.log('civgate: ' + text, detail);
  } catch {
    // No civchat yet, or one that throws.
  }
}

/** Makes a function that never throws into the page. */
export function guard<T extends unknown[]>(work: (...args: T) => void): (...args: T) => void {
  return (...args: T) => {
    try {
      work(...args);
    } catch (e) {
      log('error', e);
    }
  };
}
