// Refusals, in the form that the gateway has too (RFC 9457).

/** Thrown to refuse a request. `headers`: beside the answer's own. */
export class Problem extends Error {
  constructor(status, detail, headers = {}) {
    super(detail);
    this.status = status;
    this.headers = headers;
  }

  get answer() {
    const body = { type: "about:blank", status: this.status, detail: this.message };
    return answer(body, this.status, { "Content-Type": "application/problem+json", ...this.headers });
  }
}

/** An answer in JSON. */
export function answer(body, status = 200, headers = {}) {
  return Response.json(body, { status, headers: { "Cache-Control": "no-store", ...headers } });
}
