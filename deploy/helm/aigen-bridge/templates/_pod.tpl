{{/* The pods of API, workers and migration. */}}

{{- define "aigen-bridge.image" -}}
{{- $image := .Values.image -}}
{{- if $image.digest -}}
{{ $image.repository }}@{{ $image.digest }}
{{- else -}}
{{ $image.repository }}:{{ default .Chart.AppVersion $image.tag }}
{{- end -}}
{{- end -}}

{{/* The size in bytes of the largest callback. The default is that of the service. */}}
{{- define "aigen-bridge.maxBytes" -}}
{{- default "33554432" .Values.settings.AIGEN_CALLBACK__MAX_BYTES -}}
{{- end -}}

{{- define "aigen-bridge.scheme" -}}
{{- ternary "HTTPS" "HTTP" (hasKey .Values.settings "AIGEN_TLS__CERTIFICATE") -}}
{{- end -}}

{{- define "aigen-bridge.podMetadata" -}}
{{- $values := index (first .).Values (last .) -}}
labels:
  {{- include "aigen-bridge.labels" . | nindent 2 }}
  {{- with $values.podLabels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with $values.podAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* What all pods have in common. No service links: Kubernetes would set variables whose names begin with AIGEN_. */}}
{{- define "aigen-bridge.podSpec" -}}
{{- $root := first . -}}
{{- $values := index $root.Values (last .) -}}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  {{- toYaml $root.Values.podSecurityContext | nindent 2 }}
{{- with $root.Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- with $values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with $values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
volumes:
  - name: tmp
    emptyDir: {medium: Memory, sizeLimit: 64Mi}
  - name: secrets
    {{- include "aigen-bridge.secrets" . | nindent 4 }}
  {{- with $root.Values.extraVolumes }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end -}}

{{- define "aigen-bridge.spread" -}}
{{- $root := first . -}}
topologySpreadConstraints:
  {{- range $root.Values.topologySpread.keys }}
  - topologyKey: {{ . }}
    maxSkew: 1
    whenUnsatisfiable: {{ $root.Values.topologySpread.whenUnsatisfiable }}
    matchLabelKeys: [pod-template-hash]
    labelSelector:
      matchLabels:
        {{- include "aigen-bridge.selector" $ | nindent 8 }}
  {{- end }}
{{- end -}}

{{- define "aigen-bridge.container" -}}
{{- $root := first . -}}
{{- $values := index $root.Values (last .) -}}
image: {{ include "aigen-bridge.image" $root }}
imagePullPolicy: {{ $root.Values.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
resources:
  {{- toYaml $values.resources | nindent 2 }}
volumeMounts:
  - {name: tmp, mountPath: /tmp}
  - {name: secrets, mountPath: /etc/aigen-bridge/secrets, readOnly: true}
  {{- with $root.Values.extraVolumeMounts }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end -}}

{{/* Whether a component is the migration alone, which needs the database only; `restored` needs all settings. */}}
{{- define "aigen-bridge.isMigration" -}}
{{- if and (eq (last .) "migrate") (not (first .).Values.restored) }}true{{ end -}}
{{- end -}}

{{/* The environment. The migration gets what concerns the database and the log only. */}}
{{- define "aigen-bridge.env" -}}
{{- $root := first . -}}
{{- $isMigration := include "aigen-bridge.isMigration" . -}}
{{- $settings := dict "AIGEN_LOG__FORMAT" "json" -}}
{{- $settings = merge (dict) $root.Values.settings $settings -}}
env:
  - {name: AIGEN_SECRETS_DIR, value: /etc/aigen-bridge/secrets}
  {{- range $name, $value := $settings }}
  {{- if or (not $isMigration) (regexMatch "^AIGEN_(DATABASE|LOG)__" $name) }}
  - {name: {{ $name }}, value: {{ $value | quote }}}
  {{- end }}
  {{- end }}
  {{- if eq (last .) "worker" }}
  - {name: AIGEN_WORKER__GRACE, value: {{ printf "%ds" (int $root.Values.worker.drainSeconds) }}}
  - {name: AIGEN_WORKER__METRICS_HOST, value: {{ $root.Values.listenAddress | quote }}}
  - {name: AIGEN_WORKER__METRICS_PORT, value: "9464"}
  {{- end }}
  {{- with $root.Values.extraEnv }}
  {{- if not $isMigration }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
  {{- end }}
{{- end -}}
