"""The steps of a request, in the order in which it meets them:

| hop                | step       | what happens                                                              |
|--------------------|------------|---------------------------------------------------------------------------|
| Odoo → bridge      | `accept`   | stores the event with a `dispatch` entry, then responds                   |
| bridge → N8N       | `dispatch` | calls the webhook until N8N acknowledges the request                      |
| N8N → bridge       | `callback` | checks the result, stores it with a `deliver` entry, then responds        |
| N8N's URL → bridge | `fetch`    | fetches the image from its URL before the URL expires, and checks it      |
| N8N → bridge       | `execution`| sends the request of a failed execution again, or fails the request       |
| bridge → Odoo      | `deliver`  | reports the state of the request until Odoo acknowledges it               |
| bridge → people    | `alert`    | notifies operators of incidents, grouped by cause                         |
| (deadline)         | `expire`   | fails a request without a callback; a late result is still accepted       |

`cancel` ends a request early. A step declares the small `Protocol` that it needs, and `wiring` supplies it. A step of
the worker returns what happened (`domain.outbox`) and stores nothing itself.
"""
