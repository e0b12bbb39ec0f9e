{{/* The Secret whose keys are named like settings: yours, or the one that the ExternalSecret makes. */}}
{{- define "aigen-bridge.secretName" -}}
{{- ternary (include "aigen-bridge.fullname" .) .Values.secrets.existingSecret .Values.secrets.external.enabled -}}
{{- end -}}

{{/* The source of the folder with secrets. API and workers see the whole Secret, the migration the keys that it needs. */}}
{{- define "aigen-bridge.secrets" -}}
{{- $root := first . -}}
{{- $values := $root.Values.secrets -}}
{{- $isMigration := include "aigen-bridge.isMigration" . -}}
{{- $url := $values.databaseUrl -}}
{{- if and (eq (last .) "migrate") $root.Values.migrate.databaseUrl.secret }}{{ $url = $root.Values.migrate.databaseUrl }}{{ end -}}
{{- if $values.volume -}}
{{- toYaml $values.volume -}}
{{- else -}}
{{- $keys := $root.Values.migrate.secretKeys -}}
{{- if $url.secret }}{{ $keys = without $keys "AIGEN_DATABASE_URL" }}{{ end -}}
projected:
  defaultMode: 0440
  sources:
    {{- if or (not $isMigration) $keys }}
    - secret:
        name: {{ include "aigen-bridge.secretName" $root }}
        {{- if $isMigration }}
        items:
          {{- range $keys }}
          - {key: {{ . }}, path: {{ . }}}
          {{- end }}
        {{- end }}
    {{- end }}
    {{- if $url.secret }}
    - secret:
        name: {{ $url.secret }}
        items:
          - {key: {{ $url.key }}, path: AIGEN_DATABASE_URL}
    {{- end }}
{{- end -}}
{{- end -}}
