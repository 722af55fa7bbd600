@echo off
rem Sets up this folder and starts TryOnAI: setup.bat, or setup.bat help.
rem
rem The same as setup.sh: this finds a Python, scripts\bootstrap.py does the
rem work. Nobody has run this file on Windows yet; a report is welcome.
setlocal
set "PYTHONHOME="
set "BOOTSTRAP=%~dp0scripts\bootstrap.py"
set "CHECK=import ssl, sys, venv, zlib; sys.exit(sys.version_info < (3, 11))"

if not defined PYTHON goto search
"%PYTHON%" -I -c "%CHECK%" >nul 2>nul && goto named
echo setup: PYTHON is not a Python 3.11 or newer with venv, ssl and zlib. 1>&2
exit /b 1

rem The launcher first: a bare "python" may be the store's advertisement.
:search
py -3 -I -c "%CHECK%" >nul 2>nul && goto launcher
python -I -c "%CHECK%" >nul 2>nul && goto plain
echo setup: no Python 3.11 or newer was found: install one from the store or with winget, or set PYTHON to its python.exe. 1>&2
exit /b 1

:named
"%PYTHON%" -I "%BOOTSTRAP%" %*
exit /b %errorlevel%

:launcher
py -3 -I "%BOOTSTRAP%" %*
exit /b %errorlevel%

:plain
python -I "%BOOTSTRAP%" %*
exit /b %errorlevel%
