{{/* The Secret whose keys are named like settings: yours, or the one that the ExternalSecret makes. */}}
{{- define "aigen-bridge.secretName" -}}
{{- ternary (include "aigen-bridge.fullname" .) .Values.secrets.existingSecret .Values.secrets.external.enabled -}}
{{- end -}}

{{/* The source of the folder with secrets. API and workers see the whole Secret, the migration the URLs of the database. */}}
{{- define "aigen-bridge.secrets" -}}
{{- $root := first . -}}
{{- $values := $root.Values.secrets -}}
{{- $isMigration := include "aigen-bridge.isMigration" . -}}
{{- $url := $values.databaseUrl -}}
{{- $own := and (eq (last .) "migrate") $root.Values.migrate.databaseUrl.secret -}}
{{- if $own }}{{ $url = $root.Values.migrate.databaseUrl }}{{ end -}}
{{- if $values.volume -}}
{{- toYaml $values.volume -}}
{{- else -}}
{{- $secret := include "aigen-bridge.secretName" $root -}}
projected:
  defaultMode: 0440
  sources:
    {{- if not $isMigration }}
    - secret:
        name: {{ $secret }}
    {{- else if not $own }}
    - secret: # leads past a pooler, if there is one
        name: {{ $secret }}
        optional: true
        items:
          - {key: AIGEN_DATABASE__LISTEN_URL, path: AIGEN_DATABASE__LISTEN_URL}
    {{- if not $url.secret }}{{ $url = dict "secret" $secret "key" "AIGEN_DATABASE_URL" }}{{ end }}
    {{- end }}
    {{- if $url.secret }}
    - secret:
        name: {{ $url.secret }}
        items:
          - {key: {{ $url.key }}, path: AIGEN_DATABASE_URL}
    {{- end }}
{{- end -}}
{{- end -}}
