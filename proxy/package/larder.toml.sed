# Makes the configuration that packages install of config.example.toml: the same, with what a service needs.
1i #:schema /usr/share/larder/larder.schema.json
s|^# larder's configuration: every setting, with its default\.$|&\n# `larder check /etc/larder/larder.toml` before `systemctl reload larder`; larder.toml(5) says more.|
s|^#access_log = "off"$|access_log = "/var/log/larder/access.log"|
s|^#dir = "larder-cache"$|dir = "/var/cache/larder"|
