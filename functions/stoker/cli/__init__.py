"""The commands that users type: ``stoker deploy``, ``stoker call`` and the rest."""
