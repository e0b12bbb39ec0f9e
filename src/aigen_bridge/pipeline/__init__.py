"""The steps of a request, in the order in which it meets them. This is the table of contents:

| hop                | step       | what happens                                                              |
|--------------------|------------|---------------------------------------------------------------------------|
| Odoo → bridge      | `accept`   | the event is stored with a `dispatch` entry, then answered                |
| bridge → N8N       | `dispatch` | the webhook is called until it takes the request                          |
| N8N → bridge       | `callback` | the result is checked, stored with a `deliver` entry, then answered       |
| N8N's URL → bridge | `fetch`    | an image that came as a URL is fetched while the URL lives, and checked   |
| N8N → bridge       | `execution`| an execution failed without a result: sent again, or the request fails    |
| bridge → Odoo      | `deliver`  | Odoo is told until it knows                                               |
| bridge → people    | `alert`    | whoever runs this hears what needs them, folded by cause                  |
| (nobody → bridge)  | `expire`   | no callback before the deadline: the request fails, a late result wins    |

`cancel` is the way out before the end. A step declares the small `Protocol` that it needs; `wiring` supplies
it. A worker's step says what happened (`domain.outcome`); it never stores anything itself.
"""
